// Command moldau is the whole of Moldau in one program: the node and the tools.
package main

import (
	"os"

	"github.com/moldau/moldau/internal/app/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
