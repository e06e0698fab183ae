package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/config"
)

func TestNATS(t *testing.T) {
	secret := unit.NewSecret
	for text, want := range map[string]config.NATS{
		`{url: "nats://a:4222, nats://b:4222", creds: c}`: {External: config.External{
			URL: config.URLs{"nats://a:4222", "nats://b:4222"}, Creds: secret("c")}},
		`{url: ["tls://a:4222", "tls://b:4222"], nkey: k, tls: {ca: A, cert: C, key: K, server_name: n}}`: {External: config.External{
			URL: config.URLs{"tls://a:4222", "tls://b:4222"}, NKey: secret("k"),
			TLS: config.ClientTLS{CA: "A", Cert: "C", Key: secret("K"), ServerName: "n"}}},
		`{url: "nats://a", user: u, password: p}`: {External: config.External{URL: config.URLs{"nats://a"}, User: "u", Password: secret("p")}},
		`{url: "nats://a", token: t}`:             {External: config.External{URL: config.URLs{"nats://a"}, Token: secret("t")}},
		`{embedded: {listen: "0.0.0.0:4222", max_store: 5GiB, token: t, tls: {cert: C, key: K, ca: A},
		   users: [{user: u, password: p, subjects: [a.>]}, {user: v, password: q, admin: true}]}}`: {Embedded: &config.Embedded{
			Listen: "0.0.0.0:4222", Chosen: true, Durability: config.DurabilityInterval, MaxStore: 5 << 30, Token: secret("t"),
			TLS:   config.ServerTLS{Cert: "C", Key: secret("K"), CA: "A"},
			Users: []config.NATSUser{{User: "u", Password: secret("p"), Subjects: []string{"a.>"}}, {User: "v", Password: secret("q"), Admin: true}}}},
	} {
		c, err := config.Parse("c.yaml", []byte("version: 1\npipelines: {p: {source: {mysql: {dsn: x}}, sink: stdout}}\nnats: "+text+"\n"), options())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, c.NATS, cmp.AllowUnexported(unit.Secret{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
