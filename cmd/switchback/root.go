package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
)

// A program is what the commands share; tests make their own.
type program struct {
	out, err io.Writer
	tty      bool // out is a terminal that can be drawn on
	start    func(context.Context, config.Config, startOptions) (running, error)
	reach    func(addr string) (admin.Backend, error)
}

// A running server, in this process.
type running interface {
	Addr() string           // bootstrap address for clients
	AdminAddr() string      // for the other commands
	Backend() admin.Backend // the same, without HTTP
	Wait() error            // until it has ended
	Close() error           // ends it; idempotent
}

// startOptions are what a start is told beyond its Config.
type startOptions struct {
	Adopt bool // take over from a lost data folder
	Log   *slog.Logger
}

// run executes one command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) admin.Code {
	root := p.root()
	root.SetArgs(args)
	return p.report(root.ExecuteContext(ctx))
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "switchback",
		Short: "Move Kafka topics to another cluster underneath running clients, and back",
		Long: `Switchback moves applications from one Kafka cluster to another underneath
running clients, one topic at a time, and can move them back.

Clients change their bootstrap address once, to a running switchback. It shows
them the cluster they know, copies its topics, and at a flip makes its own log
the place where a topic is written. Clients see one short pause. The old cluster
is kept equal, byte for byte, so that every flip can be taken back.

  See it happen, with nothing installed:

    switchback demo

  On a cluster of your own:

    switchback serve --example > switchback.yaml    # edit legacy.bootstrap
    switchback serve --config switchback.yaml       # then point clients at it
    switchback status                               # until copies are caught-up
    switchback flip orders --dry-run                # what stands in the way?
    switchback flip orders
    switchback verify orders
    switchback rollback orders                      # any time later`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := "switchback --help"
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "did you mean " + strings.Join(near, " or ") + "?"
			}
			return usage(fmt.Sprintf("there is no command %q", args[0]), hint)
		},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true, // report says them, with hint and code
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(err.Error(), cmd.CommandPath()+" --help") })
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run a server:"},
		&cobra.Group{ID: "move", Title: "Move topics (of a running server):"},
		&cobra.Group{ID: "look", Title: "Look at a running server:"},
	)
	for _, c := range []struct {
		group   string
		command *cobra.Command
	}{
		{"run", newDemo(p)},
		{"run", newServe(p)},
		{"move", newFlip(p)},
		{"move", newRelocate(p)},
		{"move", newRollback(p)},
		{"look", newStatus(p)},
		{"look", newVerify(p)},
		{"look", newVersion(p)},
		{"", newExitCodes()},
	} {
		c.command.GroupID = c.group
		root.AddCommand(c.command)
	}
	return root
}

// newExitCodes is a page of help: a command that cannot be run.
func newExitCodes() *cobra.Command {
	var b strings.Builder
	b.WriteString("Every command ends with one of these codes. Scripts may rely on them.\n\n")
	for _, c := range admin.Codes {
		fmt.Fprintf(&b, "  %3d  %s\n", c.Code, c.Meaning)
	}
	return &cobra.Command{Use: "exit-codes", Short: "What the exit code of a command says", Long: strings.TrimRight(b.String(), "\n")}
}

// A caller is a command that talks to a running server.
type caller struct {
	*program
	addr string
	json bool
}

// newCaller gives cmd the flags that say where the server is, and for whom to
// print.
func newCaller(p *program, cmd *cobra.Command) *caller {
	c := &caller{program: p}
	cmd.Flags().StringVar(&c.addr, "admin", config.Default().Admin, "address of the running server, `HOST:PORT`: admin in its configuration")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one JSON object")
	return c
}

func (c *caller) backend() (admin.Backend, error) { return c.reach(c.addr) }

// fail ends the command with err. With --json there is one object on stdout
// whatever happens; people read stderr.
func (c *caller) fail(err error) error {
	if !c.json {
		return err
	}
	e := asError(err)
	printError(c.err, e)
	if err := printJSON(c.out, admin.Event{Error: e}); err != nil {
		return err
	}
	return done{e.Code}
}

// story is what the server tells on the way, for people.
func (c *caller) story() func(admin.Line) { return story(c.out, c.json) }

// topics are the arguments of a command that takes topic names.
func topics(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage("name at least one topic", "switchback "+cmd.Name()+" TOPIC...")
	}
	seen := map[string]bool{}
	for _, a := range args {
		if strings.ContainsAny(a, ", *") {
			return usage(fmt.Sprintf("%q is not the name of a topic", a), "write names with spaces between them, without patterns")
		}
		if seen[a] {
			return usage(fmt.Sprintf("topic %q is named twice", a), "name each topic once")
		}
		seen[a] = true
	}
	return nil
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Sprintf("%s takes no arguments, got %q", cmd.Name(), args[0]), "switchback "+cmd.Name()+" --help")
	}
	return nil
}

func usage(text, hint string) error {
	return &admin.Error{Op: "read command line", Text: text, Hint: hint, Code: admin.CodeUsage}
}
