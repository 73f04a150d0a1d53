package admin

import (
	"context"
	"errors"
	"fmt"
)

// A Code is the exit code of a command, and why it ended.
type Code int

// Exit codes. Scripts rely on them: numbers are never given a new meaning.
const (
	CodeOK           Code = 0   // done
	CodeFailed       Code = 1   // failed for a reason none of the others names
	CodeUsage        Code = 2   // the command line is wrong
	CodeConfig       Code = 3   // the configuration is wrong
	CodeNoServer     Code = 4   // no server answers at the admin address
	CodeNoLegacy     Code = 5   // the legacy cluster does not answer
	CodeRefused      Code = 6   // a check forbids it; nothing was changed
	CodeGivenUp      Code = 7   // it did not make its deadline; traffic goes on where it was
	CodeDiffers      Code = 8   // verification found a difference
	CodeNotOwner     Code = 9   // the data folder is in use, or of another cluster or owner
	CodeUnknownTopic Code = 10  // legacy has no such topic, or it is not mirrored
	CodeAddress      Code = 11  // an address or port cannot be listened on
	CodeStorage      Code = 12  // the target's log cannot be read or written
	CodeInterrupted  Code = 130 // stopped by the user
)

// Codes is the table of exit codes, in order, as `switchback help exit-codes`
// prints it.
var Codes = []struct {
	Code    Code
	Meaning string
}{
	{CodeOK, "done"},
	{CodeFailed, "failed for a reason that none of the others names"},
	{CodeUsage, "the command line is wrong"},
	{CodeConfig, "the configuration file is wrong"},
	{CodeNoServer, "no server answers at the admin address"},
	{CodeNoLegacy, "the legacy cluster does not answer"},
	{CodeRefused, "a check forbids it; nothing was changed"},
	{CodeGivenUp, "it did not make its deadline and was given up; traffic goes on where it was"},
	{CodeDiffers, "verification, or the demo, found a difference"},
	{CodeNotOwner, "the data folder is in use, or belongs to another cluster or owner"},
	{CodeUnknownTopic, "legacy has no such topic, or it is not mirrored"},
	{CodeAddress, "an address or port cannot be listened on"},
	{CodeStorage, "the target's log cannot be read or written"},
	{CodeInterrupted, "stopped by the user"},
}

// An Error is told to an operator.
type Error struct {
	Op      string `json:"op"`                // what was tried: "flip topics"
	Subject string `json:"subject,omitempty"` // on what: "orders", "orders/3"
	Text    string `json:"error"`             // what went wrong, with figures
	Hint    string `json:"hint,omitempty"`    // what to do next
	Code    Code   `json:"code"`
	// Findings say what stood in the way, where a check did.
	Findings []Finding `json:"findings,omitempty"`
}

func (e *Error) Error() string {
	if e.Subject == "" {
		return fmt.Sprintf("%s: %s", e.Op, e.Text)
	}
	return fmt.Sprintf("%s: %s: %s", e.Op, e.Subject, e.Text)
}

// AsError is err as an *Error: itself where there is one in its chain, a plain
// failure otherwise. op is used when err does not say.
func AsError(op string, err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Op: op, Text: "interrupted", Code: CodeInterrupted}
	default:
		return &Error{Op: op, Text: err.Error(), Code: CodeFailed}
	}
}
