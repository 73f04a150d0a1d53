package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// rewriteFindCoordinator (key 10, versions 0 to 6) puts our listeners in the
// place of legacy's addresses. The coordinator stays on legacy. One that we have
// no listener for is not available yet.
func rewriteFindCoordinator(resp *kmsg.FindCoordinatorResponse, e endpoints) {
	if resp.Version < 4 {
		resp.NodeID, resp.Host, resp.Port, resp.ErrorCode = coordinator(resp.NodeID, resp.ErrorCode, e)
		return
	}
	for i := range resp.Coordinators {
		c := &resp.Coordinators[i]
		c.NodeID, c.Host, c.Port, c.ErrorCode = coordinator(c.NodeID, c.ErrorCode, e)
	}
}

// coordinator is what a client is told about a coordinator that legacy names.
func coordinator(node int32, code int16, e endpoints) (id int32, host string, port int32, _ int16) {
	if code == codeNone {
		if host, port, ok := e.endpoint(node); ok {
			return node, host, port, codeNone
		}
		code = codeCoordinatorNotReached
	}
	return -1, "", -1, code // as Kafka's Node.noNode
}
