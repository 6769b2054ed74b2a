//go:build race

package edge_test

// raced: the race detector is on.
const raced = true
