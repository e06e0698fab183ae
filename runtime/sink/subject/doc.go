// Package subject makes NATS subjects from a template, and escapes the names
// in them so that every name gives one token and every token its name back.
//
// Neighbours: sink/jetstream checks its template with it and derives the
// stream's subjects; runtime/pipeline renders a row's subject with it.
package subject
