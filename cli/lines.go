package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// produce puts events into out until there are no more.
func (e *environment) produce(ctx context.Context, f *sendFlags, files []string, out chan<- *hubferry.Event) error {
	began, n := time.Now(), 0
	emit := func(key string, body []byte) error {
		if f.rate > 0 {
			due := began.Add(time.Duration(float64(n) / f.rate * float64(time.Second)))
			if wait := time.Until(due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		n++
		c := &hubferry.Content{Body: body, Properties: f.parsed}
		if f.contentType != "" {
			c.Message = hubferry.Properties{{Name: hubferry.ContentType, Value: hubferry.String(f.contentType)}}
		}
		event := hubferry.NewEvent(c)
		if key != "" {
			event.Key = hubferry.Text(key)
		}
		select {
		case out <- &event:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.generate > 0 {
		for i := range f.generate {
			key := ""
			if f.keys > 0 {
				key = fmt.Sprintf("key-%d", i%f.keys)
			}
			if err := emit(key, madeUp(i, f.size)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(files) == 0 {
		return readLines("standard input", e.stdin, f.key, emit)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		err = readLines(name, file, f.key, emit)
		_ = file.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// madeUp returns a body of a size that tells its number.
func madeUp(i, size int) []byte {
	b := fmt.Appendf(nil, `{"n":%d,"pad":"`, i)
	if pad := size - len(b) - 2; pad > 0 {
		b = append(b, bytes.Repeat([]byte{'x'}, pad)...)
	}
	return append(b, `"}`...)
}

// readLines emits each line with its key.
func readLines(name string, r io.Reader, key string, emit func(key string, body []byte) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 {
			k, problem := keyOf(line, key)
			if problem != nil {
				return fmt.Errorf("%s line %d: %w", name, number, problem)
			}
			if err := emit(k, line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}

// keyOf returns the value of a field of a JSON line, given by its path.
func keyOf(line []byte, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("--key needs JSON lines: %w", err)
	}
	for field := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any) // nothing else has fields
		inner, ok := object[field]
		if !ok {
			return "", fmt.Errorf("there is no field %q for the key", path)
		}
		v = inner
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case map[string]any, []any:
		return "", fmt.Errorf("the field %q is no text or number: it makes no key", path)
	default:
		return fmt.Sprint(v), nil
	}
}
