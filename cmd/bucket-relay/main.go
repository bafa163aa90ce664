package main

import (
	"context"
	"os"
)

// version is stamped by the linker: -ldflags "-X main.version=v1.2.3". Empty in
// a build without the stamp, which is then told apart by its commit.
var version string

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}
