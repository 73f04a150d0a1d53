package main

import (
	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
)

func newRelocate(p *program) *cobra.Command {
	var back bool
	cmd := &cobra.Command{
		Use:   "relocate TOPIC...",
		Short: "Let clients of flipped topics read and write on the target directly",
		Long: `Relocate topics that have flipped: metadata names the target's node as their
leader, and clients drift there with their own metadata refresh, within
metadata.max.age.ms, as after a leader election. Nothing is held and nothing is
copied; until then clients are served where they are.

A flip alone is enough to be on the target: relocation takes legacy out of the
path of readers. --back names legacy's brokers as leaders again; a rollback does
so by itself.

Exit codes: 0 done; 6 refused (not flipped, or relocated already); 10 no such
topic; 4 no server answers.`,
		Example: "  switchback relocate orders\n  switchback relocate orders --back",
		Args:    topics,
	}
	c := newCaller(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := c.backend()
		if err != nil {
			return c.fail(err)
		}
		return c.finish(b.Relocate(cmd.Context(), admin.RelocateRequest{Topics: args, Back: back}, c.story()))
	}
	cmd.Flags().BoolVar(&back, "back", false, "take the relocation back")
	return cmd
}
