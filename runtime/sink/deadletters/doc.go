// Package deadletters publishes dead letters to a stream of their own, beside the
// stream of a pipeline's messages: at least once, each under its id as Nats-Msg-Id,
// so that the server drops what it has had within ten minutes. The stream is a
// copy: it deletes its oldest rather than refuse, and nothing waits for it.
//
// Neighbours: runtime hands over what the state notes as unpublished.
package deadletters
