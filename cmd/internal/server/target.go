package server

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/proxy"
	"switchback/storage/broker"
)

// target shows the embedded broker to the proxy. The two declare the same words
// for a caller and a reply, each on its own side.
type target struct{ broker *broker.Broker }

func (t target) Gone(connection uint64) { t.broker.Forget(connection) }

func (t target) Submit(c proxy.Caller, req kmsg.Request, done func(proxy.Reply)) {
	t.broker.Submit(broker.Caller(c), req, func(r broker.Reply) { done(proxy.Reply(r)) })
}
