// Package config reads a replication application, the file hubferry.yaml, into an
// Application: connections, the checkpoint store and the tasks, decoded, checked and
// ready to be built for the engine.
//
// Load is the call that most want; Application.Build makes engine tasks of the result.
// ParseAddress reads addresses as the command line has them, and Schema and Reference
// describe the file to editors and to people.
//
// # Strict, and all at once
//
// Load reports everything that it can find in one go, each problem with file, line and
// column: keys that nobody knows, with the nearest known one; keys given twice; wrong
// types; addresses of connections that do not exist; settings that contradict each
// other. It asks no service anything.
//
// # Who knows what
//
// The keys of drivers, checkpoint stores and editors are not known here. They come with
// the Registry: the list of what the program was built with, each with a struct of
// options that is decoded by the tags described at hubferry.Options.
//
// # References
//
// ${NAME}, ${NAME:-default} and ${file:PATH} are replaced in values only, after the
// file was parsed, so that no value can change its structure; what came from a
// reference never appears in a message (INV-8). "$${" stands for "${". In a task with
// forEach, {name} stands for the variable's value. Both are replaced in one pass: a
// value that looks like a reference stays as it is.
//
// Nothing here keeps state between calls; an Application is not changed after Load and
// may be read by several goroutines.
package config
