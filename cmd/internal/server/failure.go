package server

import (
	"context"
	"errors"
	"net"
	"syscall"

	"switchback/cmd/internal/admin"
	"switchback/plans"
	"switchback/storage"
)

// operatorError gives an error of any part its exit code and a hint. Nil stays
// nil, and an *admin.Error what it is.
func operatorError(err error) error {
	var (
		told    *admin.Error
		owner   *OwnerError
		corrupt *storage.CorruptError
		plan    *plans.Error
		network *net.OpError
	)
	switch {
	case err == nil, errors.As(err, &told), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &owner):
		return &admin.Error{Op: "own legacy", Text: err.Error(), Hint: owner.Hint(), Code: admin.CodeNotOwner}
	case errors.As(err, &corrupt):
		return &admin.Error{Op: "open log", Text: err.Error(), Hint: corrupt.Hint(), Code: admin.CodeStorage}
	case errors.Is(err, storage.ErrLocked):
		return &admin.Error{Op: "open data folder", Text: err.Error(), Code: admin.CodeNotOwner,
			Hint: "another server runs on it: stop that one, or name another folder under `data`"}
	case errors.Is(err, storage.ErrForeign):
		return &admin.Error{Op: "open data folder", Text: err.Error(), Code: admin.CodeNotOwner,
			Hint: "legacy.bootstrap leads to another cluster than before: correct it, or name another folder under `data`"}
	case errors.Is(err, storage.ErrElsewhere):
		return &admin.Error{Op: "open data folder", Text: err.Error(), Code: admin.CodeStorage,
			Hint: "records would be missing: correct `objects`, or name another folder under `data`"}
	case errors.As(err, &plan):
		return planError(plan)
	case errors.As(err, &network) && network.Op == "listen", errors.Is(err, syscall.EADDRINUSE):
		return &admin.Error{Op: "listen", Text: err.Error(), Code: admin.CodeAddress,
			Hint: "another program has the address: change listen, ports or admin in the configuration"}
	}
	return err
}

// planError gives an error of the flip machine its exit code.
func planError(e *plans.Error) *admin.Error {
	out := &admin.Error{Op: e.Op, Subject: e.Subject, Text: e.Err.Error(), Hint: e.Hint, Code: admin.CodeFailed, Findings: findings(e.Findings)}
	for err, code := range map[error]admin.Code{
		plans.ErrUnknownTopic: admin.CodeUnknownTopic,
		plans.ErrLegacyAway:   admin.CodeNoLegacy,
		plans.ErrMoved:        admin.CodeRefused,
		plans.ErrNotMoved:     admin.CodeRefused,
		plans.ErrRelocated:    admin.CodeRefused,
		plans.ErrNotRelocated: admin.CodeRefused,
		plans.ErrPartOfUnit:   admin.CodeRefused,
		plans.ErrBusy:         admin.CodeRefused,
		plans.ErrRefused:      admin.CodeRefused,
		plans.ErrGivenUp:      admin.CodeGivenUp,
		plans.ErrInterrupted:  admin.CodeInterrupted,
	} {
		if errors.Is(e, err) {
			out.Code = code
		}
	}
	return out
}

func findings(all []plans.Finding) []admin.Finding {
	level := map[plans.Level]admin.Level{plans.OK: admin.Green, plans.Warning: admin.Amber, plans.Refusal: admin.Red}
	out := make([]admin.Finding, len(all))
	for i, f := range all {
		out[i] = admin.Finding{Level: level[f.Level], Subject: f.Subject, Check: f.Check, Fact: f.Fact, Hint: f.Hint}
	}
	return out
}
