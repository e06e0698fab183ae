// Package jsontext is the pieces of JSON that message formats are put together
// of: text, numbers, dates and times, bytes. Everything appends to a buffer and
// allocates nothing.
//
// Neighbours: the formats beside it; sdk.
package jsontext
