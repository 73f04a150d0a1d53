package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// A benchmark is one case: run measures and returns rows; it says how far it is on standard error.
type benchmark struct {
	name  string
	about string
	run   func(ctx context.Context, args []string) ([]Row, error)
}

var benchmarks = []benchmark{
	{"relay", "clean path of the proxy against a bare splice relay and a direct connection", runRelay},
	{"flip", "what clients feel of flips, rollbacks and relocations on a real Kafka, beside a leader move", runFlip},
}

// parts are what a case starts as processes of their own: this program again, with the part's name. Nobody else calls them.
var parts = map[string]func(ctx context.Context) error{
	"part-relay-broker": serveBroker,
	"part-relay-splice": serveSplice,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (code int, err error) {
	if len(args) == 0 {
		return 2, errors.New(usage())
	}
	if part, ok := parts[args[0]]; ok {
		if err := part(ctx); err != nil {
			return 2, err
		}
		return 0, nil
	}
	at := slices.IndexFunc(benchmarks, func(b benchmark) bool { return b.name == args[0] })
	if at < 0 {
		return 2, fmt.Errorf("no benchmark %q\n%s", args[0], usage())
	}
	rest := slices.DeleteFunc(slices.Clone(args[1:]), func(arg string) bool { return arg == "--json" || arg == "-json" })
	rows, err := benchmarks[at].run(ctx, rest)
	if errors.Is(err, flag.ErrHelp) {
		return 2, nil
	}
	if err != nil {
		return 2, fmt.Errorf("run %s: %w", args[0], err)
	}
	write := printTable
	if len(rest) < len(args)-1 {
		write = printJSON
	}
	if err := write(os.Stdout, Result{Bench: args[0], Machine: machineNow(), Rows: rows}); err != nil {
		return 2, err
	}
	if slices.ContainsFunc(rows, func(r Row) bool { return r.Met != nil && !*r.Met }) {
		return 1, nil
	}
	return 0, nil
}

func usage() string {
	var b strings.Builder
	b.WriteString("usage: go run ./e2e/bench NAME [--json] [flags of the case]\n")
	for _, c := range benchmarks {
		fmt.Fprintf(&b, "  %-8s %s\n", c.name, c.about)
	}
	return b.String()
}
