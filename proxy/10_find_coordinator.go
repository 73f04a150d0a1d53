package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// rewriteFindCoordinator puts our listeners in the place of legacy's addresses.
func rewriteFindCoordinator(resp *kmsg.FindCoordinatorResponse, e endpoints) {}
