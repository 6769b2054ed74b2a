package node

import (
	"fmt"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/node/broker"
)

// standardAuthorizer is the class whose rules are built in.
const standardAuthorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

// openAuthorizer makes the authorizer that the settings want: none, one that decides, or one that only remembers for acl learn.
func openAuthorizer(n *Node) error {
	cfg := n.static
	switch class := strings.TrimSpace(cfg.GetString("authorizer.class.name")); {
	case class == standardAuthorizer:
		if _, bad := acl.ParseSuperUsers(cfg.GetString("super.users")); bad != "" {
			return fmt.Errorf("super.users has %q, which is no principal: write principals as Type:Name with semicolons between them, for example User:alice;User:bob", bad)
		}
		n.authorizer = broker.NewAuthorizer(n.o.World, n.o.Logger)
		n.authorizer.SetRules(acl.NewSet(aclConfig(cfg), nil))
	case class != "":
		return fmt.Errorf("authorizer.class.name is %q, a class of Java's that cannot run here; write %s for the built-in rules, or leave it empty for none", class, standardAuthorizer)
	case cfg.GetBool("moldau.acl.learn"):
		n.authorizer = broker.NewAuthorizer(n.o.World, n.o.Logger)
	}
	return nil
}

// aclConfig is what of the settings concerns who may do what.
func aclConfig(cfg *config.BrokerConfig) acl.Config {
	users, _ := acl.ParseSuperUsers(cfg.GetString("super.users")) // openAuthorizer has refused what is none
	return acl.Config{SuperUsers: users, AllowIfNoRule: cfg.GetBool("allow.everyone.if.no.acl.found")}
}

// authorize has the authorizer decide by the rules of an image. A nil delta is the image at start.
func authorize(n *Node, img *metadata.Image, d *metadata.Delta) {
	switch {
	case n.authorizer == nil || n.authorizer.Rules() == nil:
	case d == nil:
		n.authorizer.SetRules(acl.NewSet(aclConfig(n.static), img.ACLs()))
	case d.Changed().ACLs:
		added, removed := img.ACLsSince(d.Base())
		n.authorizer.SetRules(n.authorizer.Rules().With(added, removed))
	}
}
