package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

const (
	addrVar     = "BUCKET_RELAY_ADDR"
	addrDefault = "http://127.0.0.1:10088"
)

// clientFlags are what every command takes that speaks to a node.
type clientFlags struct {
	addr string
	json bool
}

// addClientFlags gives cmd the flags of a client.
func addClientFlags(cmd *cobra.Command) *clientFlags {
	f := &clientFlags{}
	addr := os.Getenv(addrVar)
	if addr == "" {
		addr = addrDefault
	}
	cmd.Flags().StringVar(&f.addr, "addr", addr, "the node to ask, as host:port or URL ($"+addrVar+")")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	noCompletion(cmd, "addr")
	return f
}

// clientRun makes the body of a command that asks a node. The context ends with
// the first interrupt; a second one ends the process.
func clientRun(f *clientFlags, do func(context.Context, *httpapi.Client, *cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		client, err := httpapi.NewClient(f.addr)
		if err != nil {
			return usageError{err}
		}
		defer client.Close()
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
		defer stop()
		context.AfterFunc(ctx, stop) // from now on an interrupt has its usual effect
		return do(ctx, client, cmd, args)
	}
}

// printJSON prints a document as the node gave it, indented.
func printJSON(cmd *cobra.Command, document any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(document)
}

// orJSON returns the error, if there is one, and prints the document otherwise.
func orJSON(cmd *cobra.Command, err error, document any) error {
	if err != nil {
		return err
	}
	return printJSON(cmd, document)
}

// done prints what was done: a sentence, or with --json an object that names
// the thing.
func (f *clientFlags) done(cmd *cobra.Command, key, name, sentence string) error {
	if f.json {
		return printJSON(cmd, map[string]string{key: name})
	}
	fmt.Fprintln(cmd.OutOrStdout(), sentence)
	return nil
}

// completer answers a completion from a running node. It never takes long: a
// shell waits for it.
func completer(ask func(context.Context, *httpapi.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		addr, err := cmd.Flags().GetString("addr")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, err := httpapi.NewClient(addr)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		found, err := ask(ctx, client)
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// onlyFirst completes the first argument and nothing after it.
func onlyFirst(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, prefix)
	}
}

// completeFlag registers how a flag is completed. Only a flag that is not there
// can fail, which the tests would see.
func completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err)
	}
}

// words completes to one of a few words.
func words(choices ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp)
}

// noCompletion is for flags whose value nothing can guess, files least of all.
func noCompletion(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		completeFlag(cmd, flag, cobra.NoFileCompletions)
	}
}

// clusterNames and collectorIDs complete what the node's table holds, each with
// a description.
func clusterNames(ctx context.Context, c *httpapi.Client) ([]string, error) {
	table, err := c.Clusters(ctx, 0, 0)
	var found []string
	for name, cluster := range table.Clusters {
		found = append(found, cobra.CompletionWithDesc(name,
			"mode "+string(cluster.Mode)+", "+count(len(cluster.Collectors), "collector", "collectors")))
	}
	return found, err
}

func collectorIDs(ctx context.Context, c *httpapi.Client) ([]string, error) {
	table, err := c.Clusters(ctx, 0, 0)
	var found []string
	for name, cluster := range table.Clusters {
		for _, m := range cluster.Collectors {
			found = append(found, cobra.CompletionWithDesc(m.ID, "cluster "+name))
		}
	}
	return found, err
}
