// Package tidy is the repository's own linter, run as a Go test.
//
// Duty: its tests read every Go file of the module and hold it to the rules
// that reviews would otherwise repeat: which package may import which
// (testdata/layers.txt), one package comment per package and a line for it in
// ARCHITECTURE.md, how long files, functions and signatures may get, which
// calls belong to one package only (time, files, sockets, goroutines), what
// machines and formats must be free of, and which names say nothing.
//
// Invariants: each failure says what to do instead. What breaks a rule for a
// good reason stands in testdata/allow.txt with that reason; an entry that is
// no longer needed fails the test, so the list only shrinks.
//
// Callers: go test ./internal/tidy, by people and by every check of a change.
// It must never import a package of this module, nor take longer than a few
// seconds.
package tidy
