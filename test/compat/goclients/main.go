// Command goclients runs the common script with one of the Go clients, or with kcat.
//
// usage: goclients CLIENT HOST:PORT PREFIX, where PREFIX begins the names of all topics and groups.
package main

import (
	"fmt"
	"os"

	"compat/check"
	"compat/franz"
	"compat/kcat"
	"compat/sarama"
	"compat/segmentio"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: goclients franz-go|sarama|kafka-go|kcat HOST:PORT PREFIX")
		os.Exit(2)
	}
	c, err := client(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Printf("fail connect: %v\n", err)
		os.Exit(1)
	}
	os.Exit(check.Main(c, os.Args[3]))
}

func client(name, addr string) (check.Client, error) {
	switch name {
	case "franz-go":
		return franz.New(addr)
	case "kcat":
		return kcat.New(addr)
	case "sarama":
		return sarama.New(addr)
	case "kafka-go":
		return segmentio.New(addr)
	}
	return nil, fmt.Errorf("there is no client %q", name)
}
