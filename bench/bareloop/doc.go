// Program bareloop is the yardstick of the whole job: the smallest loop that a
// person would write to move a MySQL binlog into JetStream with go-mysql and
// nats.go. A synchronous event handler, JSON appended by hand for the one kind
// of table that it knows, Nats-Msg-Id, PublishAsync with 4,096 pending, and an
// embedded nats-server with a file store. It keeps no position, checks no
// type, survives nothing, and orders nothing after an error: it is what cdcd's
// guarantees are weighed against.
//
//	bareloop -addr 127.0.0.1:3306 -from binlog.000002:157 -to binlog.000003:4711 -store DIR
//
// With -ceiling N it reads nothing and publishes N messages of -size bytes: how
// fast the broker takes them from this machine at all. It ends with one line of
// JSON on standard output.
//
// Neighbours: see bench, which runs it.
package main
