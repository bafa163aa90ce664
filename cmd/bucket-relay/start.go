package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/node"
)

func newStart() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start [--config FILE]",
		Short: "Run a node",
		Long: `Run a node: take files from its outboxes, hand them over, and publish what
arrives in its inboxes, until told to stop.

With no flags it is a network of its own. To form a network of three, start each
of them with the same flags, at every start:

  --bootstrap-expect 3 --join n1:10090,n2:10090,n3:10090

'bucket-relay members' says what they wait for. When all three have met, they
agree on who collects for which cluster, and any one of them may fail. From then
on the flags make no difference.

To join a network that is there, name one or more of its nodes: --join n1:10090.
Such a node never begins a network of its own. Nodes on several machines need
--http, --raft, --gossip and --advertise, and 'insecure: true' in the file, as
they listen on loopback else.

To follow a network over HTTP alone, without being a part of it, name its nodes
in the file: network: { servers: [http://n1:10088, http://n2:10088] }.

Each flag has an environment variable, which it overrides; both override the
configuration file.

Signals: SIGTERM and SIGINT let running transfers end and stop the node; a
second one ends it at once, which loses nothing either. SIGHUP reads the
configuration again and takes over its rules, filters and the static table; if
it has a mistake, everything stays as it was. The log goes to standard error.`,
		Example: `  bucket-relay start --config relay.yaml
  bucket-relay start --config relay.yaml --join n1:10090,n2:10090
  BUCKET_RELAY_HTTP=127.0.0.1:0 bucket-relay start --config relay.yaml --log-format json`,
		Args: args(cobra.NoArgs),
	}
	path := configFlag(cmd)
	over := overrideFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		load := func() (node.Config, error) { return node.Load(*path, os.Getenv, over()) }
		return start(cmd.Context(), load, cmd.ErrOrStderr())
	}
	return cmd
}

// overrideFlags gives cmd the flags that override the configuration. The
// function returns those that were given; what they may be is for package node
// to say, so that all mistakes come out together.
func overrideFlags(cmd *cobra.Command) func() node.Overrides {
	var over node.Overrides
	var take []func()
	flag := func(to **string, name, usage string, complete cobra.CompletionFunc) {
		env := "BUCKET_RELAY_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := cmd.Flags().String(name, "", usage+" ($"+env+")")
		completeFlag(cmd, name, complete)
		take = append(take, func() {
			if cmd.Flags().Changed(name) {
				*to = value
			}
		})
	}
	nothing := cobra.NoFileCompletions
	flag(&over.Name, "name", "what people call this node; default: the host name", nothing)
	flag(&over.DataDir, "data-dir", "where the node keeps what is its own",
		cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	flag(&over.HTTP, "http", "host:port of the admin API; default: "+node.DefaultHTTP, nothing)
	flag(&over.Raft, "raft", "host:port for its peers; default: "+node.DefaultRaft, nothing)
	flag(&over.Gossip, "gossip", "host:port for gossip; default: "+node.DefaultGossip, nothing)
	flag(&over.Advertise, "advertise", "IP address or DNS name by which others reach this node", nothing)
	flag(&over.Join, "join", "gossip addresses of nodes of the network, with commas between; its own is skipped", nothing)
	flag(&over.BootstrapExpect, "bootstrap-expect", "how many nodes form a new network together; the same on all of them", nothing)
	flag(&over.LogFormat, "log-format", "text or json; default: text", words("text", "json"))
	flag(&over.LogLevel, "log-level", "debug, info, warn or error; default: info", words("debug", "info", "warn", "error"))
	return func() node.Overrides {
		for _, f := range take {
			f()
		}
		return over
	}
}

// start runs a node until it is told to stop or fails.
func start(ctx context.Context, load func() (node.Config, error), stderr io.Writer) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	log := newLogger(stderr, cfg.Log)
	// Before the node opens: a SIGHUP that nobody waits for ends the process.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, reloadSignals...)
	defer signal.Stop(reload)
	ctx, restore := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer restore()

	n, err := node.Open(ctx, cfg, thisBuild().Version, log)
	if err != nil {
		return err
	}
	err = serve(ctx, n, reload, load, log)
	restore() // a second signal now has its usual effect: it ends the process
	return errors.Join(err, n.Close())
}

// serve waits and reloads until the context ends or the node fails.
func serve(ctx context.Context, n *node.Node, reload <-chan os.Signal, load func() (node.Config, error), log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			log.Info("stopping: running transfers may end, a second signal stops at once")
			return nil
		case err := <-n.Failed():
			return err
		case <-n.Gone():
			log.Info("stopping: the node has left its network")
			return nil
		case <-reload:
			reloadInto(n, load, log)
		}
	}
}

// reloadInto reads the configuration again and takes over what can change. A
// configuration with a mistake changes nothing.
func reloadInto(n *node.Node, load func() (node.Config, error), log *slog.Logger) {
	next, err := load()
	if problems, ok := errors.AsType[node.Problems](err); ok {
		for _, p := range problems {
			log.Error("configuration has a mistake", "at", place(p), "problem", p.Message, "remedy", p.Remedy)
		}
		log.Error("configuration not reloaded, the old one stays", "mistakes", len(problems))
		return
	}
	if err != nil {
		log.Error("configuration not reloaded, the old one stays", "err", err)
		return
	}
	if restart := n.Reload(next); len(restart) > 0 {
		log.Warn("some changes need a restart", "changes", strings.Join(restart, ", "))
	}
}

func place(p node.Problem) string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// newLogger returns the node's logger. Times are UTC.
func newLogger(w io.Writer, cfg node.Log) *slog.Logger {
	options := &slog.HandlerOptions{
		Level: cfg.Level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				a.Value = slog.TimeValue(a.Value.Time().UTC())
			}
			return a
		},
	}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
