package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// Input is a configuration file and what it may refer to.
type Input struct {
	// File is the path of the file, as it appears in messages. ${file:PATH} and the
	// default checkpoint store are relative to its folder.
	File string
	// Lookup returns an environment variable; nil means that none is set.
	Lookup func(name string) (string, bool)
	// ReadFile reads the file and what ${file:PATH} names; nil means from the file
	// system.
	ReadFile func(name string) ([]byte, error)
	// Now is the time with which a start position is compared; zero means time.Now.
	Now time.Time
}

func (in *Input) lookup(name string) (string, bool) {
	if in.Lookup == nil {
		return "", false
	}
	return in.Lookup(name)
}

func (in *Input) readFile(name string) ([]byte, error) {
	if in.ReadFile != nil {
		return in.ReadFile(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (in *Input) now() time.Time {
	if in.Now.IsZero() {
		return time.Now()
	}
	return in.Now
}

// root reads and parses the file and checks its version. It returns nil when there is
// nothing to go on with.
func (in *Input) root(r *report) *node {
	data, err := in.readFile(in.File)
	if err != nil {
		r.problems = append(r.problems, Problem{File: r.file, Message: "the file cannot be read: " + cause(err).Error(), cause: err})
		return nil
	}
	root := parse(data, r)
	if root == nil {
		return nil
	}
	if root.kind != mapNode {
		r.errorAt(root, `expected a map that begins with "version: 1", found %s`, root.describe())
		return nil
	}
	version := root.get("version")
	switch {
	case version == nil:
		r.add(Error, position{1, 1}, "", `"version" is missing; this is version 1: write "version: 1"`)
	case version.kind != scalarNode || version.text != "1":
		r.errorAt(version, "this program reads version 1 only; found %s", version.describe())
	}
	return root
}

// cause strips the path and the operation of a file error: the message names them.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
