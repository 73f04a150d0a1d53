package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
	"switchback/offsets"
)

type statusOptions struct {
	watch      bool
	partitions bool
}

func newStatus(p *program) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show where topics live, how the copies do, and whether rollback is exact",
		Long: `Show where every topic lives and how its copy does.

  HOME      the cluster that takes its writes
  LEADER    the cluster that clients are told to connect to for it
  COPY      caught-up or copying while home is legacy; replaying while home is the
            target; stalled: legacy refuses a batch (the error and the remedy are
            told, and it resumes by itself); diverged: the two logs differ
  BEHIND    batches that the other cluster does not have yet
  DRAIN     the measured time it needs to receive them
  ROLLBACK  exact, or from where on it is not

--watch shows it again whenever something changes, as it happens. With --json it
prints one object; with both, one JSON line per change.

Exit codes: 0 shown; 4 no server answers; 130 a watch was interrupted.`,
		Args: noArgs,
	}
	c := newCaller(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), c, opts) }
	cmd.Flags().BoolVarP(&opts.watch, "watch", "w", false, "go on showing changes")
	cmd.Flags().BoolVarP(&opts.partitions, "partitions", "p", false, "a row for every partition")
	return cmd
}

func runStatus(ctx context.Context, c *caller, opts statusOptions) error {
	b, err := c.backend()
	if err != nil {
		return c.fail(err)
	}
	if !opts.watch {
		s, err := b.Status(ctx)
		switch {
		case err != nil:
			return c.fail(err)
		case c.json:
			return printJSON(c.out, s)
		}
		printStatus(c.out, s, opts.partitions)
		return nil
	}
	err = b.WatchStatus(ctx, func(s admin.Status) error {
		if c.json {
			return json.NewEncoder(c.out).Encode(s)
		}
		if c.tty {
			fmt.Fprint(c.out, "\x1b[H\x1b[2J") // home, clear
		}
		printStatus(c.out, s, opts.partitions)
		if !c.tty {
			fmt.Fprintln(c.out)
		}
		return nil
	})
	if err == nil {
		return done{admin.CodeInterrupted}
	}
	return c.fail(err)
}

func printStatus(w io.Writer, s admin.Status, partitions bool) {
	up := 0
	for _, b := range s.Brokers {
		if b.Up {
			up++
		}
	}
	fmt.Fprintf(w, "legacy   %s: %s, %d of %s up\n", s.Process.ClusterID, s.Process.Legacy, up, count(len(s.Brokers), "broker"))
	fmt.Fprintf(w, "target   node %d, storage %s\n", s.Process.Node, s.Process.Storage)
	fmt.Fprintf(w, "clients  %s, bootstrap at %s\n", connections(s), s.Process.Bootstrap)
	printMoves(w, s.Routes)
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tPARTITIONS\tHOME\tLEADER\tCOPY\tBEHIND\tDRAIN\tROLLBACK")
	for _, r := range statusRows(s.Partitions, partitions) {
		fmt.Fprintln(table, strings.Join(r.cells(), "\t"))
	}
	_ = table.Flush() // w's errors are not told here, as for every other line
	printTrouble(w, s.Partitions)
}

func connections(s admin.Status) string {
	moved := 0
	for _, c := range s.Clients {
		if c.Node == s.Process.Node {
			moved++
		}
	}
	n := len(s.Clients) + s.ClientsOmitted
	return fmt.Sprintf("%s, %d on the target's node", count(n, "connection"), moved)
}

// printMoves tells what is on its way, and how the last attempt ended.
func printMoves(w io.Writer, routes []admin.Route) {
	for _, r := range routes {
		switch {
		case r.Move != "":
			fmt.Fprintf(w, "moving   %s: %s, %s\n", strings.Join(r.Topics, ", "), r.Move, r.Phase)
		case r.Note != "":
			fmt.Fprintf(w, "note     %s: %s\n", strings.Join(r.Topics, ", "), r.Note)
		}
	}
}

// A statusRow is a topic, or one partition: the worst of what it covers.
type statusRow struct {
	name       string
	partitions int
	homes      []string
	leaders    []string
	state      string
	behind     int64
	drain      float64
	inexact    int // partitions whose way back is not exact
	target     int // partitions whose home is the target
}

// severity orders the states of copies; the worst one of a topic is shown.
var severity = []string{admin.CaughtUp, admin.Replaying, admin.Copying, admin.Stopped, admin.Unreachable, admin.Stalled, admin.Diverged}

func statusRows(all []admin.Partition, partitions bool) []*statusRow {
	var rows []*statusRow
	for _, p := range all {
		name := p.Topic
		if partitions {
			name = fmt.Sprintf("%s/%d", p.Topic, p.Index)
		}
		if len(rows) == 0 || rows[len(rows)-1].name != name {
			rows = append(rows, &statusRow{name: name})
		}
		rows[len(rows)-1].add(p)
	}
	return rows
}

func (r *statusRow) add(p admin.Partition) {
	r.partitions++
	r.homes = addOnce(r.homes, p.Home.String())
	leader := offsets.Legacy
	if p.Relocated {
		leader = offsets.Target
	}
	r.leaders = addOnce(r.leaders, leader.String())
	if r.state == "" || slices.Index(severity, p.Lag.State) > slices.Index(severity, r.state) {
		r.state = p.Lag.State
	}
	r.behind += p.Lag.Batches
	if p.Lag.DrainMs < 0 || r.drain < 0 {
		r.drain = -1
	} else {
		r.drain = max(r.drain, p.Lag.DrainMs)
	}
	if p.Home == offsets.Target {
		r.target++
		if !p.Lag.Exact {
			r.inexact++
		}
	}
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func (r *statusRow) cells() []string {
	drain, rollback := "-", "-"
	if r.drain >= 0 {
		drain = millis(r.drain)
	}
	switch {
	case r.inexact > 0:
		rollback = fmt.Sprintf("not exact in %d", r.inexact)
	case r.target > 0:
		rollback = "exact"
	}
	return []string{r.name, fmt.Sprint(r.partitions), strings.Join(r.homes, "+"), strings.Join(r.leaders, "+"), r.state, grouped(r.behind), drain, rollback}
}

// mostTrouble bounds what is told one by one; --partitions and --json tell all.
const mostTrouble = 20

// printTrouble names every partition that somebody has to look at.
func printTrouble(w io.Writer, all []admin.Partition) {
	told := 0
	for _, p := range all {
		inexact := p.Home == offsets.Target && !p.Lag.Exact
		if p.Lag.Err == "" && !inexact {
			continue
		}
		if told++; told > mostTrouble {
			continue
		}
		if told == 1 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s/%d: %s", p.Topic, p.Index, p.Lag.State)
		if p.Lag.Err != "" {
			fmt.Fprintf(w, ": %s", p.Lag.Err)
		}
		fmt.Fprintln(w)
		if inexact {
			fmt.Fprintf(w, "  rollback is not exact from offset %d on: %s\n", p.Lag.InexactFrom, p.Lag.Why)
		}
		if p.Lag.Remedy != "" {
			fmt.Fprintf(w, "  -> %s\n", p.Lag.Remedy)
		}
	}
	if told > mostTrouble {
		fmt.Fprintf(w, "and %d more: switchback status --json\n", told-mostTrouble)
	}
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + cmp.Or(units[i], "B")
}
