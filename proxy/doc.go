// Package proxy is the wire: it shows one Kafka cluster to clients where there
// are two. Every legacy broker has a listener under its own node id, and the
// target has one under an id of its own, which is the bootstrap address.
//
// # Promises
//
// Answers leave in the order of their requests on each connection. A Produce is
// forwarded or appended exactly once by us, to the partition's home of that
// moment; if its outcome is unknown its connection is closed and never answered.
// A held partition lets no Produce through, in-flight ones are counted, and a
// drain that returns has seen the last of them. No answer names an address of
// legacy. Shown leader epochs never go back. A request that meets only clean
// partitions is not decoded past its first fields and allocates nothing.
// Memory is bounded: one buffer of whole frames per direction, maxSlots
// unanswered requests, maxBuffered bytes of answers that wait for their turn.
//
// # No promises
//
// Versions below Produce 3 and Fetch 4 (KIP-896) end their connection. TLS is not
// spoken. SASL passes through to legacy on
// the client's own upstream connection; a client that has used it has no side
// connections (see below) and is told NOT_LEADER_OR_FOLLOWER where one would be
// needed. Transactions don't reach the target: a transactional Produce to a moved
// topic is refused before anything is appended.
//
// # Life of a connection
//
// A listener accepts it, and a conn serves it with two to three goroutines, all
// of which conn.serve waits for, as Proxy.Run waits for every conn:
//
//	client ──► A, conn.readRequests ──┬──────────────► pinned upstream ──► broker
//	           looks, waits, decides  ├──────────────► side upstreams  ──► other brokers
//	                                  └── Submit ────► target
//
//	client ◄──┬── B, upstream.readAnswers, one per upstream (answers whose turn it is)
//	          └── W, conn.writeAnswers (answers that were made here, or had to wait)
//
// A opens the pinned upstream with the first request. On a legacy node's listener
// it goes to that broker; if the broker is gone the connection is served offline
// (offline.go). On the target's listener it goes to any live broker, for
// everything that is not about data. Side upstreams exist on the target's
// listener only: one per legacy broker, ordered, for Produce of partitions whose
// home is legacy again.
//
// When a client goes away, its upstreams stay until the Produce on them has been
// answered (conn.linger): a request that we cut off could still be appended
// later, and nobody would know. When an upstream goes away with requests on it,
// the client connection is closed.
//
// # Life of a request
//
// Each request that will be answered has a slot, a place in the order of answers:
//
//	        head                          tail
//	         │                             │
//	─────────▼─────────────────────────────▼──────
//	written  │ pass │ local  │ pass │ call │  free
//	         │      │ ready  │      │      │
//	─────────┴──────┴────────┴──────┴──────┴──────
//	           ▲       ▲        ▲      ▲
//	   B of pinned   target's   │      parts of one request, from the target
//	   writes it    completion  │      and from brokers, complete it together
//	                            B has its answer already: copied if small, else
//	                            B waits for its turn (back-pressure)
//
// and each request on an upstream an expect, in the order in which they were
// written there: brokers answer in order, so that needs no correlation ids of our
// own (but they are compared). Requests of our own (authorisation, proofs that a
// Produce without acks was handled) have an expect and no slot.
//
// A writes runs of clean requests with one Write per read, and B writes runs of
// clean answers likewise.
//
// # Locks
//
// conn.sending: held by whoever decides about requests and writes them upstream,
// so a decision and the write that follows it are one step for everybody else.
// A gives it up while it waits for anything. B never takes it. Then a
// produceCall.mu, then partition.mu (never two at a time), then conn.mu. No lock is held while a Target, a Copy or
// a client socket is called, but for sending.
//
// # How a hold can't miss a Produce
//
// The routes are an immutable snapshot behind an atomic pointer. A loads it while
// it holds sending. Watch publishes a snapshot that names the partition, then
// takes sending of every connection once and injects a request behind whatever
// Produce is there: when that is answered, every Produce that was decided under
// an older snapshot has been answered too. From then on each Produce enters the
// partition before it is sent: under partition.mu it either sees the hold and
// waits, or it is counted and sees the route. Apply changes the route and ends
// the hold under the same lock.
//
// # Crash
//
// Nothing here survives one, and nothing needs to: routes are applied anew by the
// caller. What was in flight has an unknown outcome, for the clients as for the
// mirror.
package proxy
