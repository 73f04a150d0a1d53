package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
)

// A done error ends a command that has said everything itself.
type done struct{ code admin.Code }

func (d done) Error() string { return fmt.Sprintf("exit code %d", d.code) }

// report says why a command failed and returns its exit code. Every error of
// every command ends here.
func (p *program) report(err error) admin.Code {
	var said done
	switch {
	case err == nil:
		return admin.CodeOK
	case errors.As(err, &said):
		return said.code
	}
	e := asError(err)
	printError(p.err, e)
	return e.Code
}

// asError gives every kind of error its exit code.
func asError(err error) *admin.Error {
	var e *admin.Error
	var file *config.Error
	var hinted interface{ Hint() string }
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &file):
		return &admin.Error{Op: "read config", Text: file.Error(), Code: admin.CodeConfig,
			Hint: "every key with its default and a comment: switchback serve --example"}
	case errors.Is(err, context.Canceled):
		return &admin.Error{Op: "run", Text: "interrupted", Code: admin.CodeInterrupted,
			Hint: "what was on its way is undone or finished by the server: switchback status"}
	case errors.As(err, &hinted):
		return &admin.Error{Op: "run", Text: err.Error(), Hint: hinted.Hint(), Code: admin.CodeFailed}
	default:
		return &admin.Error{Op: "run", Text: err.Error(), Code: admin.CodeFailed}
	}
}

func printError(w io.Writer, e *admin.Error) {
	fmt.Fprintf(w, "switchback: %s\n", e.Error())
	for _, f := range e.Findings {
		printFinding(w, f)
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "  -> %s\n", e.Hint)
	}
}

// printJSON prints one object.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
