package natsd

import (
	"crypto/rand"
	"crypto/subtle"
	"net"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// Access says who may connect to the embedded server besides the daemon, and
// what of it is the daemon's alone. With neither a token nor users, everybody
// who reaches the listener may; that is refused beyond loopback.
type Access struct {
	// Token lets whoever has it in; Users those named.
	Token unit.Secret
	Users []User
	// Streams and Subjects are the pipelines': nobody but the daemon and users
	// with Admin may write to them, or change or delete them.
	Streams, Subjects []string
}

// User may connect to the embedded server with a password.
type User struct {
	Name     string
	Password unit.Secret
	// Subjects narrows what the user may read to these, wildcards allowed, and
	// takes the right to make streams and buckets; empty for everything.
	Subjects []string
	// Admin gives the user all rights, also on the pipelines' streams.
	Admin bool
}

func (a Access) open() bool { return a.Token.IsZero() && len(a.Users) == 0 }

// check refuses an address that others reach without saying who they are.
func (a Access) check(listen string) error {
	if listen == "" || !a.open() || loopback(listen) {
		return nil
	}
	return fault.New(fault.Config, "nats_listen", "nats.embedded.listen",
		"set nats.embedded.token or nats.embedded.users, or listen on 127.0.0.1", "%s can be reached from other machines, and there is neither a token nor a user", listen)
}

func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// insideUser is the name under which the daemon's own connections come in.
const insideUser = "cdcd"

// gate implements server.Authentication: it knows the daemon's own connections
// by a password made for this process, and gives others what they may do.
type gate struct {
	inside string
	access Access
	guest  *server.Permissions
}

func newGate(a Access) *gate {
	return &gate{inside: rand.Text(), access: a, guest: guestPermissions(a)}
}

// Check implements server.Authentication.
func (g *gate) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	switch {
	case o.Username == insideUser && same(o.Password, g.inside):
		c.RegisterUser(&server.User{Username: insideUser})
		return true
	case g.access.open():
		c.RegisterUser(&server.User{Permissions: g.guest})
		return true
	case !g.access.Token.IsZero() && same(o.Token, g.access.Token.Reveal()):
		c.RegisterUser(&server.User{Username: "token", Permissions: g.guest})
		return true
	}
	for _, u := range g.access.Users {
		if u.Name == o.Username && same(o.Password, u.Password.Reveal()) {
			c.RegisterUser(&server.User{Username: u.Name, Permissions: g.permissions(u)})
			return true
		}
	}
	return false
}

// same compares without telling by its time how much agrees.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (g *gate) permissions(u User) *server.Permissions {
	switch {
	case u.Admin:
		return nil
	case len(u.Subjects) > 0:
		return readerPermissions(u.Subjects)
	}
	return g.guest
}

// streamVerbs are what JetStream's API does to a stream and nobody but its
// owner should.
var streamVerbs = [...]string{"CREATE", "UPDATE", "DELETE", "PURGE", "RESTORE", "MSG.DELETE", "PEER.REMOVE", "LEADER.STEPDOWN"}

// guestPermissions let everything be but what would harm a pipeline: writing to
// its subjects, and changing its stream. Reading, acknowledging, and streams
// and buckets of one's own are free.
func guestPermissions(a Access) *server.Permissions {
	deny := []string{"cdc.>", "$JS.API.SERVER.>", "$JS.API.META.>", "$JS.API.ACCOUNT.>", "$SYS.>"}
	for _, s := range a.Subjects {
		if !slices.Contains(deny, s) {
			deny = append(deny, s)
		}
	}
	for _, s := range a.Streams {
		for _, verb := range streamVerbs {
			deny = append(deny, "$JS.API.STREAM."+verb+"."+s)
		}
	}
	return &server.Permissions{Publish: &server.SubjectPermission{Deny: deny}}
}

// readerPermissions let a client make consumers that are filtered to the
// subjects, take and acknowledge their messages, and nothing else. A consumer's
// filter is a part of the subject that it is made with.
func readerPermissions(subjects []string) *server.Permissions {
	publish := []string{"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*",
		"$JS.API.CONSUMER.INFO.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*", "$JS.API.CONSUMER.DELETE.*.*", "$JS.ACK.>", "$JS.FC.>"}
	for _, s := range subjects {
		publish = append(publish, "$JS.API.CONSUMER.CREATE.*.*."+s)
		if store, ok := strings.CutPrefix(s, "$O."); ok { // what an object is, is asked of its store
			store, _, _ = strings.Cut(store, ".")
			publish = append(publish, "$JS.API.STREAM.MSG.GET.OBJ_"+store)
		}
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: append([]string{"_INBOX.>"}, subjects...)},
	}
}
