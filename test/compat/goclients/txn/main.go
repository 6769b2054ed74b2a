// Command txn runs the script of transactions with one of the Go clients.
//
// usage: txn franz-go|sarama HOST:PORT PREFIX, where PREFIX begins the names of all topics, groups and transactional ids.
// The topics are there already: PREFIX-in with numbered records, PREFIX-out and PREFIX-copy with as many partitions.
package main

import (
	"fmt"
	"os"
)

// records is how many numbered records PREFIX-in has, over all partitions; each transaction copies up to batch of them.
const (
	records = 300
	batch   = 25
)

// script is what a client can do. Each step is checked by reading what is committed.
type script interface {
	// write produces values to partition 0 of PREFIX-out in one transaction, and ends it.
	write(values []string, commit bool) error
	// fence has a second producer take the transactional id over, and tells how the first one's commit then ends.
	fence() (error, error)
	// copy copies PREFIX-in to PREFIX-copy, each transaction with the positions reached; every third one is aborted.
	copy() error
	// read gives the committed values of partition 0 of PREFIX-out.
	read() ([]string, error)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: txn franz-go|sarama HOST:PORT PREFIX")
		os.Exit(2)
	}
	var s script
	switch os.Args[1] {
	case "franz-go":
		s = &franz{addr: os.Args[2], prefix: os.Args[3]}
	case "sarama":
		s = &shopify{addr: os.Args[2], prefix: os.Args[3]}
	default:
		fmt.Fprintf(os.Stderr, "there is no client %q\n", os.Args[1])
		os.Exit(2)
	}
	if !run(s) {
		os.Exit(1)
	}
}

// run does all steps and prints a line for each.
func run(s script) bool {
	good := true
	step := func(name string, err error) {
		if err != nil {
			good = false
			fmt.Printf("fail %s: %v\n", name, err)
			return
		}
		fmt.Println("ok", name)
	}
	step("commit", wrote(s, []string{"a", "b"}, true, "[a b]"))
	step("abort", wrote(s, []string{"c"}, false, "[a b]"))
	step("again", wrote(s, []string{"d"}, true, "[a b d]"))
	step("fence", fenced(s))
	step("copy", s.copy())
	return good
}

// wrote writes and reads all that is committed.
func wrote(s script, values []string, commit bool, want string) error {
	if err := s.write(values, commit); err != nil {
		return err
	}
	got, err := s.read()
	if err == nil && fmt.Sprint(got) != want {
		err = fmt.Errorf("committed are %v, not %s", got, want)
	}
	return err
}

func fenced(s script) error {
	old, err := s.fence()
	if err != nil {
		return err
	}
	if old == nil {
		return fmt.Errorf("the first producer could commit after the second had taken over")
	}
	got, err := s.read()
	if err == nil && fmt.Sprint(got) != "[a b d new]" {
		err = fmt.Errorf("committed are %v, not [a b d new]", got)
	}
	return err
}
