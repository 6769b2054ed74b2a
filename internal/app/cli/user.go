package cli

import (
	"bufio"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/network/auth"
)

// maxPasswordBytes bounds a password that is read.
const maxPasswordBytes = 4 << 10

func userCommand(e env) *cobra.Command {
	c := &connection{env: e}
	cmd := &cobra.Command{
		Use:   "user",
		Short: "List, set and delete the users that log in with SCRAM",
		Example: `  moldau user set alice
  moldau user set alice --mechanism SCRAM-SHA-256 --password-file alice.txt
  moldau user list
  moldau user delete alice`,
		Args: noArgs,
		RunE: help,
	}
	c.flags(cmd)
	cmd.AddCommand(userList(c), userSet(c), userDelete(c))
	return cmd
}

// scramMechanisms are the mechanisms that users have passwords for.
var scramMechanisms = map[string]kadm.ScramMechanism{"SCRAM-SHA-256": kadm.ScramSha256, "SCRAM-SHA-512": kadm.ScramSha512}

func mechanismName(m kadm.ScramMechanism) string {
	if m == kadm.ScramSha256 {
		return "SCRAM-SHA-256"
	}
	return "SCRAM-SHA-512"
}

// mechanisms reads the flag --mechanism.
func mechanisms(names []string) ([]kadm.ScramMechanism, error) {
	var all []kadm.ScramMechanism
	for _, name := range names {
		m, ok := scramMechanisms[strings.ToUpper(name)]
		if !ok {
			return nil, usagef("--mechanism %q: it is SCRAM-SHA-256 or SCRAM-SHA-512", name)
		}
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all, nil
}

// listedUser is a user as `user list` shows it.
type listedUser struct {
	User        string             `json:"user"`
	Credentials []listedCredential `json:"credentials"`
}

type listedCredential struct {
	Mechanism  string `json:"mechanism"`
	Iterations int32  `json:"iterations"`
}

func userList(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the users and how they may log in", Args: noArgs,
		Example: `  moldau user list --json`,
		RunE: func(*cobra.Command, []string) error {
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				all, err := a.DescribeUserSCRAMs(ctx)
				if err != nil {
					return err
				}
				users := []listedUser{}
				for _, u := range all.Sorted() {
					if u.Err != nil {
						return fmt.Errorf("user %s: %w", u.User, withMessage(u.Err, u.ErrMessage))
					}
					l := listedUser{User: u.User}
					for _, i := range u.CredInfos {
						l.Credentials = append(l.Credentials, listedCredential{mechanismName(i.Mechanism), i.Iterations})
					}
					users = append(users, l)
				}
				return c.print(users, func(w io.Writer) { printUsers(w, users) })
			})
		},
	}
}

func printUsers(w io.Writer, users []listedUser) {
	if len(users) == 0 {
		fmt.Fprintln(w, "There are no users: `moldau user set NAME` makes one.")
		return
	}
	columns(w, "USER\tMECHANISM\tITERATIONS", func(line func(string, ...any)) {
		for _, u := range users {
			for _, i := range u.Credentials {
				line("%s\t%s\t%d", u.User, i.Mechanism, i.Iterations)
			}
		}
	})
}

// userName is the one argument of a command about a user.
func userName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usagef("%s takes the name of one user", cmd.CommandPath())
	}
	return nil
}

func userSet(c *connection) *cobra.Command {
	var names []string
	var file string
	var iterations int32
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a user, or give one another password",
		Example: `  moldau user set alice
  moldau user set alice --mechanism SCRAM-SHA-256 --password-file alice.txt`,
		Long: `Make a user, or give one another password.

The password is asked for, or read from the first line of a file or of what is piped in. It does
not leave this machine: the node gets a salted form of it, from which it cannot be had back.`,
		Args: userName,
		RunE: func(_ *cobra.Command, args []string) error {
			wanted, err := mechanisms(names)
			if err != nil {
				return err
			}
			password, err := c.password(args[0], file)
			if err != nil {
				return err
			}
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				// One request for each: a user may not come twice in one.
				for _, m := range wanted {
					credential, err := salted(&clock.Real{}, args[0], m, password, iterations)
					if err != nil {
						return err
					}
					done, err := a.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{credential})
					if err != nil {
						return err
					}
					if r := done[args[0]]; r.Err != nil {
						return fmt.Errorf("user %s: %w", args[0], withMessage(r.Err, r.ErrMessage))
					}
					fmt.Fprintf(c.out, "%s may log in with %s.\n", args[0], mechanismName(m))
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&names, "mechanism", []string{"SCRAM-SHA-512"}, "the mechanism that the password is for; may be repeated")
	f.StringVar(&file, "password-file", "", "a file whose first line is the password; - is what is piped in")
	f.Int32Var(&iterations, "iterations", 8192, "how often the password is hashed, 4096 to 16384")
	return cmd
}

// salted is a user's credential. The salt is drawn here and not by kadm, whose salts look otherwise than those that nodes make up
// for users that there are not: by it anybody could tell who is a user.
func salted(r clock.Rand, user string, m kadm.ScramMechanism, password string, iterations int32) (kadm.UpsertSCRAM, error) {
	if iterations < 4096 || iterations > 16384 {
		return kadm.UpsertSCRAM{}, usagef("--iterations %d: it must be from 4096 to 16384", iterations)
	}
	h := sha512.New
	if m == kadm.ScramSha256 {
		h = sha256.New
	}
	salt := auth.NewSalt(r)
	key, err := pbkdf2.Key(h, password, salt, int(iterations), h().Size())
	return kadm.UpsertSCRAM{User: user, Mechanism: m, Iterations: iterations, Salt: salt, SaltedPassword: key}, err
}

func userDelete(c *connection) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a user, or with --mechanism one of its passwords", Args: userName,
		Example: `  moldau user delete alice
  moldau user delete alice --mechanism SCRAM-SHA-256`,
		RunE: func(_ *cobra.Command, args []string) error {
			wanted, err := mechanisms(names)
			if err != nil {
				return err
			}
			return c.do(func(ctx context.Context, a *kadm.Client) error {
				if len(wanted) == 0 {
					if wanted, err = passwordsOf(ctx, a, args[0]); err != nil {
						return err
					}
				}
				for _, m := range wanted {
					done, err := a.AlterUserSCRAMs(ctx, []kadm.DeleteSCRAM{{User: args[0], Mechanism: m}}, nil)
					if err != nil {
						return err
					}
					if r := done[args[0]]; errors.Is(r.Err, kerr.ResourceNotFound) {
						return fmt.Errorf("the user %s has no password for %s: `moldau user list` lists those there are", args[0], mechanismName(m))
					} else if r.Err != nil {
						return fmt.Errorf("user %s: %w", args[0], withMessage(r.Err, r.ErrMessage))
					}
					fmt.Fprintf(c.out, "%s may no longer log in with %s.\n", args[0], mechanismName(m))
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&names, "mechanism", nil, "the mechanism whose password is deleted; all without it")
	return cmd
}

// passwordsOf are the mechanisms that a user has passwords for.
func passwordsOf(ctx context.Context, a *kadm.Client, user string) ([]kadm.ScramMechanism, error) {
	all, err := a.DescribeUserSCRAMs(ctx, user)
	if err != nil {
		return nil, err
	}
	u := all[user]
	if errors.Is(u.Err, kerr.ResourceNotFound) || len(u.CredInfos) == 0 && u.Err == nil {
		return nil, fmt.Errorf("there is no user %s: `moldau user list` lists those there are", user)
	}
	if u.Err != nil {
		return nil, fmt.Errorf("user %s: %w", user, withMessage(u.Err, u.ErrMessage))
	}
	var wanted []kadm.ScramMechanism
	for _, i := range u.CredInfos {
		wanted = append(wanted, i.Mechanism)
	}
	return wanted, nil
}

// password reads a user's new password: from a file, from what is piped in, or from the terminal without showing it.
func (c *connection) password(user, file string) (string, error) {
	in := c.in
	terminal, ok := c.in.(*os.File)
	switch {
	case file != "" && file != "-":
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("the password cannot be read: %w", err)
		}
		defer f.Close() //nolint:errcheck // only read from
		in = f
	case ok && typedAt(terminal):
		fmt.Fprintf(c.err, "Password for %s: ", user)
		restore, err := hideInput(terminal)
		if err != nil {
			return "", fmt.Errorf("the terminal cannot be kept from showing the password: %w: give it with --password-file", err)
		}
		defer func() {
			restore()
			fmt.Fprintln(c.err)
		}()
	}
	line, err := bufio.NewReaderSize(io.LimitReader(in, maxPasswordBytes+2), maxPasswordBytes+2).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("the password cannot be read: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case line == "":
		return "", errors.New("the password is empty: the first line that is read is taken")
	case len(line) > maxPasswordBytes:
		return "", fmt.Errorf("the password is longer than %d bytes", maxPasswordBytes)
	}
	return line, nil
}
