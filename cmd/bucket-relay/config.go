package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/node"
)

// configFlag gives cmd --config. The variable stands in the help alone: package
// node reads it, as it does those of the other flags.
func configFlag(cmd *cobra.Command) *string {
	path := cmd.Flags().String("config", "", "the configuration file ($BUCKET_RELAY_CONFIG)")
	if err := cmd.MarkFlagFilename("config", "yaml", "yml"); err != nil {
		panic(err) // there is no such flag
	}
	return path
}

// loadNamed is node.Load for a command that is of no use without a file.
func loadNamed(path string) (node.Config, error) {
	c, err := node.Load(path, os.Getenv, node.Overrides{})
	if err == nil && c.File == "" {
		return c, usageError{fmt.Errorf("name the configuration with --config FILE")}
	}
	return c, err
}

// printWarnings prints what a valid configuration had better not say.
func printWarnings(w io.Writer, c node.Config) {
	for _, p := range c.Warnings {
		fmt.Fprintf(w, "warning: %s\n", p)
	}
}
