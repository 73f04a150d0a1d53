// Command switchback moves applications from one Kafka cluster to another
// underneath running clients, one topic at a time, and can move them back.
//
// This package is the command line: one file per command, explicit lists of
// commands (root.go) and of exit codes (admin.Codes). What a command says when
// it fails, and with which code it ends, is decided in one place, fail.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"switchback/cmd/internal/admin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: what is on disk is safe at any
	// instant.
	context.AfterFunc(ctx, stop)
	p := &program{
		out:   os.Stdout,
		err:   os.Stderr,
		tty:   isTerminal(os.Stdout),
		start: startServer,
		reach: reachServer,
	}
	os.Exit(int(p.run(ctx, os.Args[1:])))
}

// reachServer is the Backend of a running server.
func reachServer(addr string) (admin.Backend, error) { return admin.NewClient(addr) }

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
