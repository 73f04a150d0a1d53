// Package admin is how the commands talk to a running server: HTTP and JSON on
// a loopback address.
//
// The server side serves a Backend, which the server implements and which knows
// nothing of HTTP; the client side is what the CLI uses, and has the same
// methods. Long answers (a flip, a verification, a watched status) are streams
// of JSON lines, so that a person sees each step as it happens.
//
//	GET  /v1/version                 Version
//	GET  /v1/ready                   Ready
//	GET  /v1/status                  Status
//	GET  /v1/status?watch=1          Status per line, as things change, until the caller leaves
//	POST /v1/check     CheckRequest     Event per line, the last one with a report or an error
//	POST /v1/flip      FlipRequest      same
//	POST /v1/relocate  RelocateRequest  same
//	POST /v1/rollback  RollbackRequest  same
//	POST /v1/verify    VerifyRequest    same
//
// Promises: nobody but this machine reaches it (Listen refuses any other
// address, and a request whose Host is not loopback or which comes from a web
// page is refused, so that no site can drive it through somebody's browser);
// every error carries what was tried, on what, what to do next, and the exit
// code of the command.
//
// Not promised: authentication of local users. Who may connect to loopback on
// this machine may flip topics.
//
// Goroutines: those of net/http, one per connection; Serve ends them all before
// it returns. A caller that leaves cancels the context of its Backend call,
// which then undoes or finishes what it had begun, as each method says.
package admin
