package main

import (
	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
)

func newRollback(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback TOPIC...",
		Short: "Make legacy the place where topics are written again",
		Long: `Roll flipped topics back: legacy becomes their home again, with everything that
was written since at the same offsets. A relocation is taken back first.

Producers wait while legacy receives the last records, so it is refused while that
would take longer than rollback.maxDrain, as measured: try again when
` + "`switchback status`" + ` shows a smaller drain time. It is also refused where the way
back is not exact any more: status says from which offset on, and why.

Exit codes: 0 rolled back; 6 refused, nothing was changed; 7 given up, the topics
are still on the target; 10 no such topic; 4 no server answers.`,
		Example: "  switchback rollback orders",
		Args:    topics,
	}
	c := newCaller(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := c.backend()
		if err != nil {
			return c.fail(err)
		}
		return c.finish(b.Rollback(cmd.Context(), admin.RollbackRequest{Topics: args}, c.story()))
	}
	return cmd
}
