//go:build race

package edge_test

func init() { raced = true }
