//go:build !unix

package cli

// What follows cannot be told here.

func writable(string) error { return nil }

func descriptorLimit() (uint64, bool) { return 0, false }

func lockHeld(string) bool { return false }
