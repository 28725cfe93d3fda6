package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Workplace makes a temporary folder for a run, and builds hubferry in it unless there is a
// binary to be measured. The caller removes the folder.
func Workplace(ctx context.Context, binary string) (dir, hubferry string, err error) {
	if dir, err = os.MkdirTemp("", "hubferry-bench-"); err != nil {
		return "", "", err
	}
	if binary != "" {
		return dir, binary, nil
	}
	if binary, err = Build(ctx, dir); err != nil {
		return "", "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, binary, nil
}

// Sizes reads the flag -sizes: numbers of bytes, each at least so many.
func Sizes(list string, least int) (sizes []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < least {
			return nil, fmt.Errorf("-sizes %s: expected bytes, at least %d", text, least)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}
