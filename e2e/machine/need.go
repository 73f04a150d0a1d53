package machine

import (
	"os"
	"os/exec"
	"testing"
)

// Require is the environment variable that turns a missing program from a skip into a failure: CI sets it to "require",
// so that a green run cannot be one that ran nothing.
const Require = "SWITCHBACK_E2E"

// LongRuns is the environment variable that asks for the full size of every scenario.
const LongRuns = "SWITCHBACK_LONG"

// Long reports whether scenarios run in their full size.
func Long() bool { return os.Getenv(LongRuns) == "1" }

// Size returns short, or long when full sizes were asked for, and logs which of them runs.
func Size[T any](t testing.TB, what string, short, long T) T {
	t.Helper()
	if Long() {
		t.Logf("full size: %s = %v", what, long)
		return long
	}
	t.Logf("short size: %s = %v (%s=1 runs %v)", what, short, LongRuns, long)
	return short
}

// Need ends the test when program is not on the PATH: skipped with a line that says what to install, failed where tests are
// required. install names the package as the Debian client knows it.
func Need(t testing.TB, program, install string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		Missing(t, program+" is not on the PATH", install)
	}
}

// Missing ends the test because something that it needs is not on this machine; the rules are those of Need.
func Missing(t testing.TB, what, install string) {
	t.Helper()
	if os.Getenv(Require) == "require" {
		t.Fatalf("%s, and %s=require: install %s", what, Require, install)
	}
	t.Skipf("%s: install %s to run this test", what, install)
}
