package node

import (
	"crypto/pbkdf2"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/node/quorum"
)

// Bounds of a credential's iterations (KIP-554).
const minIterations, maxIterations = 4096, 16384

// FormatOptions say what a node's data directories are made into before its first start.
type FormatOptions struct {
	Config *config.BrokerConfig
	FS     vfs.FS
	World  clock.World
	// ClusterID is the new cluster's id; empty draws one.
	ClusterID string
	// Release is the metadata.version by Kafka's name; empty takes the default.
	Release string
	// Features are levels of other features, each as NAME=LEVEL.
	Features []string
	// Scram are the users to begin with, each as in Kafka's --add-scram: MECHANISM=[name=NAME,password=PASSWORD,...].
	Scram []string
	// IgnoreFormatted lets directories be that are formatted.
	IgnoreFormatted bool
}

// Formatted is what Format did.
type Formatted struct {
	ClusterID string
	// Release is the metadata.version of the new cluster.
	Release string
	// New are the directories that were formatted; none if all were before.
	New []string
	// Users are the names of the SCRAM users, with their mechanisms.
	Users []string
}

// Format makes the data directories of a cluster with this one node, as Kafka's storage tool does. What it refuses it refuses
// in Kafka's words, before anything is written.
func Format(o FormatOptions) (*Formatted, error) {
	if err := o.Config.CheckNode(); err != nil {
		return nil, err
	}
	listeners, err := o.Config.Listeners()
	if err != nil {
		return nil, err
	}
	n := &Node{o: Options{FS: o.FS, World: o.World}, static: o.Config, listeners: listeners}
	f := quorum.FormatOptions{
		FS: o.FS, World: o.World, MetadataDir: filepath.Clean(o.Config.MetadataLogDir()), Dirs: cleaned(o.Config.LogDirs()),
		NodeID: o.Config.NodeID(), ClusterID: o.ClusterID, Voter: n.voter(), MetadataVersion: metadata.DefaultVersion,
	}
	if o.ClusterID != "" {
		if _, err := wire.ParseUUID(o.ClusterID); err != nil {
			return nil, fmt.Errorf("the cluster id %q is no identifier: `moldau storage random-uuid` makes one", o.ClusterID)
		}
	}
	if err := o.levels(&f); err != nil {
		return nil, err
	}
	if f.Scram, err = o.users(f.MetadataVersion); err != nil {
		return nil, err
	}
	dirs := f.Dirs
	if !slices.Contains(dirs, f.MetadataDir) {
		dirs = append(slices.Clone(dirs), f.MetadataDir)
	}
	before, err := quorum.Identify(o.FS, dirs, f.NodeID, o.ClusterID)
	if err != nil {
		return nil, err
	}
	out := &Formatted{Release: metadata.VersionName(f.MetadataVersion), New: before.Empty}
	for _, dir := range dirs {
		if _, done := before.Directories[dir]; done && !o.IgnoreFormatted {
			return nil, fmt.Errorf("log directory %s is already formatted. Use --ignore-formatted to ignore this directory and format the others", dir)
		}
	}
	if len(f.Scram) > 0 && !slices.Contains(before.Empty, f.MetadataDir) {
		return nil, errors.New("the metadata directory is already formatted, so no users can be put into it: start the node and use `moldau user set`")
	}
	id, err := quorum.Format(f)
	if err != nil {
		return nil, err
	}
	out.ClusterID = id.ClusterID
	for _, u := range f.Scram {
		out.Users = append(out.Users, u.Name+" ("+scramName(u.Mechanism)+")")
	}
	return out, nil
}

// levels reads the release and the features.
func (o *FormatOptions) levels(f *quorum.FormatOptions) error {
	if o.Release != "" {
		level, ok := metadata.ParseVersion(o.Release)
		if !ok {
			var names []string
			for v := metadata.MinimumVersion; v <= metadata.LatestVersion; v++ {
				names = append(names, metadata.VersionName(v))
			}
			return fmt.Errorf("unknown metadata.version '%s'. Supported metadata.version are: %s", o.Release, strings.Join(names, ", "))
		}
		f.MetadataVersion = level
	}
	for _, text := range o.Features {
		name, value, ok := strings.Cut(text, "=")
		level, err := strconv.ParseInt(strings.TrimSpace(value), 10, 16)
		if !ok || err != nil {
			return fmt.Errorf("the feature %q cannot be read: write it as NAME=LEVEL", text)
		}
		name = strings.TrimSpace(name)
		switch name {
		case metadata.FeatureMetadataVersion:
			return errors.New("use --release-version instead of --feature metadata.version=X to avoid ambiguity")
		case metadata.FeatureKRaftVersion:
			return errors.New("kraft.version cannot be chosen: it is 1, so that the voters can change later. Try removing the --feature flag for kraft.version")
		}
		supported, ok := metadata.SupportedFeature(name)
		if !ok {
			var names []string
			for _, s := range metadata.SupportedFeatures() {
				names = append(names, s.Name)
			}
			return fmt.Errorf("unsupported feature: %s. Supported features are: %s", name, strings.Join(names, ", "))
		}
		if int16(level) < supported.Min || int16(level) > supported.Max {
			return fmt.Errorf("%s has the levels %d to %d, not %d", name, supported.Min, supported.Max, level)
		}
		f.Features = append(f.Features, metadata.FeatureLevel{Name: name, Level: int16(level)})
	}
	return nil
}

// users reads the SCRAM users.
func (o *FormatOptions) users(version int16) ([]*wire.UserScramCredentialRecord, error) {
	if len(o.Scram) > 0 && version < metadata.ScramVersion {
		return nil, fmt.Errorf("SCRAM is only supported in metadata.version %s or later", metadata.VersionName(metadata.ScramVersion))
	}
	var all []*wire.UserScramCredentialRecord
	for _, text := range o.Scram {
		u, err := parseScram(o.World, text)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(other *wire.UserScramCredentialRecord) bool {
			return other.Name == u.Name && other.Mechanism == u.Mechanism
		}) {
			return nil, fmt.Errorf("the user %s is given twice for %s", u.Name, scramName(u.Mechanism))
		}
		all = append(all, u)
	}
	return all, nil
}

func scramName(mechanism int8) string {
	for name, number := range scramNumbers {
		if number == mechanism {
			return name
		}
	}
	return strconv.Itoa(int(mechanism))
}

// parseScram reads a user as Kafka's --add-scram has it. Errors do not repeat what may be a password.
func parseScram(r clock.Rand, text string) (*wire.UserScramCredentialRecord, error) {
	name, rest, ok := strings.Cut(strings.TrimSpace(text), "=")
	if !ok {
		return nil, errors.New("failed to find equals sign in a SCRAM argument: write it as MECHANISM=[name=NAME,password=PASSWORD]")
	}
	mechanism, ok := scramNumbers[name]
	if !ok {
		return nil, fmt.Errorf("the add-scram mechanism %s is not supported: it is %s or %s", name, auth.ScramSHA256, auth.ScramSHA512)
	}
	if rest, ok = strings.CutPrefix(rest, "["); !ok {
		return nil, errors.New("expected configuration string to start with [")
	}
	if rest, ok = strings.CutSuffix(rest, "]"); !ok {
		return nil, errors.New("expected configuration string to end with ]")
	}
	given := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case !ok:
			return nil, errors.New("no equals sign found in a SCRAM component: a password with a comma cannot be written here, set it later with `moldau user set`")
		case !slices.Contains([]string{"name", "password", "salt", "iterations", "saltedpassword"}, key):
			return nil, errors.New("unknown SCRAM configuration: there are name, password, salt, iterations and saltedpassword; a password with a comma cannot be written here, set it later with `moldau user set`")
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		given[key] = value
	}
	return scramUser(r, name, mechanism, given)
}

// scramUser makes the record of what was read.
func scramUser(r clock.Rand, mechanismName string, mechanism int8, given map[string]string) (*wire.UserScramCredentialRecord, error) {
	if given["name"] == "" {
		return nil, errors.New("you must supply 'name' to add-scram")
	}
	var err error
	iterations := minIterations
	if text, ok := given["iterations"]; ok {
		if iterations, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("failed to parse iterations count: %s", text)
		}
	}
	if iterations < minIterations || iterations > maxIterations {
		return nil, fmt.Errorf("the 'iterations' value must be from %d to %d for add-scram using %s", minIterations, maxIterations, mechanismName)
	}
	salt := auth.NewSalt(r)
	text, salted := given["salt"]
	if salted {
		if salt, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("failed to decode given salt: it is not base 64")
		}
	}
	password, plain := given["password"]
	var key []byte
	switch text, ready := given["saltedpassword"]; {
	case plain && password == "":
		return nil, errors.New("the password of a user must not be empty")
	case plain:
		h := scramHashes[mechanismName]
		if key, err = pbkdf2.Key(h, password, salt, iterations, h().Size()); err != nil {
			return nil, err
		}
	case !ready:
		return nil, errors.New("you must supply one of 'password' or 'saltedpassword' to add-scram")
	case !salted:
		return nil, errors.New("you must supply 'salt' with 'saltedpassword' to add-scram")
	default:
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("failed to decode given saltedpassword: it is not base 64")
		}
	}
	return controller.ScramRecord(given["name"], mechanism, salt, key, int32(iterations)), nil
}

// NewClusterID draws an id for a cluster.
func NewClusterID(w clock.World) string { return quorum.NewID(w).String() }
