package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/node"
)

func newSend() *cobra.Command {
	var to string
	var timeout time.Duration
	var parallel int
	cmd := &cobra.Command{
		Use:   "send --to CLUSTER FILE…",
		Short: "Hand files to a cluster, without an outbox",
		Long: `Hand files straight to the collectors of a cluster, as the node's table has
them: to each of them, to one, or by key, as the mode of the cluster says. The
files stay where they are. What a collector does not take is tried again until
it has failed for --timeout without getting further.

Only regular files are sent, never the content of directories. The exit code is
0 when every file was acknowledged by all that it was owed to: then it is on
their disks. With --json each file is one line of JSON.

Within one run no collector publishes a file twice; another run sends it anew.
For files that must survive a crash of this machine on their way, use an outbox.`,
		Example: `  bucket-relay send --to images photo.jpg
  bucket-relay send --to logs --timeout 10m /var/log/app/*.gz`,
		Args: args(cobra.MinimumNArgs(1)),
	}
	flags := addClientFlags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the cluster")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long a collector may fail before it is given up")
	cmd.Flags().IntVar(&parallel, "parallel", 4, "how many files are under way at once")
	completeFlag(cmd, "to", completer(clusterNames))
	noCompletion(cmd, "timeout", "parallel")
	cmd.RunE = clientRun(flags, func(ctx context.Context, client *httpapi.Client, cmd *cobra.Command, files []string) error {
		switch {
		case to == "":
			return usageError{errors.New("name the cluster with --to")}
		case parallel < 1 || parallel > 100:
			return usageError{fmt.Errorf("--parallel %d: want 1 to 100", parallel)}
		case timeout < 0:
			return usageError{fmt.Errorf("--timeout %s is negative", timeout)}
		}
		courier, err := node.OpenCourier(ctx, node.CourierConfig{
			Source: client, Cluster: to, Timeout: timeout, Parallel: parallel,
		})
		if err != nil {
			return err
		}
		defer courier.Close()
		bar := newProgress(cmd.OutOrStdout(), cmd.ErrOrStderr(), len(files))
		tally := &tally{progress: bar}
		if flags.json {
			bar.quiet, tally.json = true, json.NewEncoder(cmd.OutOrStdout())
		}
		arrived := courier.Send(ctx, files, bar, tally.done)
		bar.finish(tally.ok)
		if !arrived {
			return errShown
		}
		return tally.err
	})
	return cmd
}

// tally counts the files that arrived and, if json is set, prints each
// delivery as a line of it.
type tally struct {
	progress *progress
	json     *json.Encoder

	mu  sync.Mutex // guards ok, err and the use of json
	ok  int
	err error // of printing
}

// done takes the news that it is over for a file. It is safe for concurrent use.
func (t *tally) done(d node.Delivery) {
	t.mu.Lock()
	if d.Arrived() {
		t.ok++
	}
	if t.json != nil {
		t.err = errors.Join(t.err, t.json.Encode(newDelivery(d)))
	}
	t.mu.Unlock()
	t.progress.done(d)
}

// delivery is what became of one file, as --json prints it.
type delivery struct {
	File     string            `json:"file"` // as it was given
	Name     string            `json:"name,omitempty"`
	Cluster  string            `json:"cluster"`
	Size     int64             `json:"size"`
	SHA256   string            `json:"sha256,omitempty"`
	Receipts []httpapi.Receipt `json:"receipts"`         // of the collectors that have it
	Errors   map[string]string `json:"errors,omitempty"` // by collector: why it does not; "" stands for the file itself
}

func newDelivery(d node.Delivery) delivery {
	out := delivery{
		File: d.File, Name: d.Name, Cluster: d.Cluster, Size: d.Size, SHA256: d.SHA256,
		Receipts: d.Receipts, Errors: make(map[string]string),
	}
	for id, err := range d.Errors {
		out.Errors[id] = explain(err)
	}
	return out
}

// deliveryText says who has the file: "a.json → json_consumer_1, 1.2 KiB in 4ms".
func deliveryText(d node.Delivery) string {
	var to []string
	for _, r := range d.Receipts {
		who := r.Collector
		switch {
		case r.Original:
			who += " (gives no receipts)"
		case r.PublishedAs != "" && r.PublishedAs != d.Name:
			who += " as " + r.PublishedAs
		}
		to = append(to, who)
	}
	return fmt.Sprintf("%s -> %s  %s in %s", printable(d.File), printable(strings.Join(to, ", ")), bytesText(d.Size), shortTime(d.Took))
}
