// Package ovsdb is a client of the Open vSwitch Database management protocol
// (RFC 7047 and ovsdb-server(7)): JSON-RPC over a unix or TCP socket,
// transactions, and an in-memory copy of the monitored tables that the server
// keeps current.
//
// A Client connects in the background and reconnects with back-off. After
// each connection it reads schema and tables anew and replaces the whole
// cache; what differs from the old content is reported as changes, so that a
// consumer sees each difference once, however it came about. The cache can't
// be read while it is out of date: View waits for it.
//
// Updates caused by a transaction arrive before the transaction's reply, so
// after Transact returns the cache holds its effects.
package ovsdb
