// Command gen writes the generated part of package wire: one file for each message and the tables over all of them.
//
//	go run ./internal/format/wire/gen -jars DIR
//
// DIR holds the jars of one Apache Kafka release that carry message specifications: kafka-clients, kafka-raft,
// kafka-metadata, kafka-storage, kafka-group-coordinator, kafka-share-coordinator and kafka-transaction-coordinator.
// Only the facts are taken over (names, types, versions, defaults); the specifications' prose is not.
//
// It is run by hand when the protocol level is raised, never in a build.
package main

import (
	"archive/zip"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	jars := flag.String("jars", "", "`directory` with the Kafka jars")
	out := flag.String("out", "internal/format/wire", "`directory` of the package")
	flag.Parse()
	if err := run(*jars, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run reads all specifications and writes all files; files of messages that are gone are removed.
func run(jars, out string) error {
	paths, err := filepath.Glob(filepath.Join(jars, "*.jar"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no jars in %q; name their directory with -jars", jars)
	}
	var messages []*message
	for _, path := range paths {
		found, err := readJar(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		messages = append(messages, found...)
	}
	slices.SortFunc(messages, func(a, b *message) int { return cmp.Compare(a.Name, b.Name) })
	if err := checkNames(messages); err != nil {
		return err
	}
	files := map[string][]byte{}
	for _, m := range messages {
		if m.root == nil {
			continue
		}
		if files[fileName(m.Name)], err = emitMessage(m); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	if files["zz_generated_apis.go"], err = emitAPIs(messages); err != nil {
		return err
	}
	if files["zz_generated_records.go"], err = emitRecords(messages); err != nil {
		return err
	}
	return replace(out, files)
}

var specPath = regexp.MustCompile(`^(common/)?(message|metadata)/[^/]*\.json$`)

// readJar returns the messages specified in one jar.
func readJar(path string) ([]*message, error) {
	jar, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer jar.Close()
	var messages []*message
	for _, entry := range jar.File {
		if !specPath.MatchString(entry.Name) {
			continue
		}
		f, err := entry.Open()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name, err)
		}
		data, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name, err)
		}
		m, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name, err)
		}
		// Remote log records are framed like KRaft's, but live in another topic.
		if m.Type == "metadata" && strings.HasPrefix(m.Name, "Remote") {
			m.Type = "remote"
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// checkNames makes sure that no two structs have the same Go name.
func checkNames(messages []*message) error {
	seen := map[string]string{}
	for _, m := range messages {
		for _, st := range m.structs {
			if other, ok := seen[st.goName]; ok {
				return fmt.Errorf("struct %s is in %s and in %s", st.goName, other, m.Name)
			}
			seen[st.goName] = m.Name
		}
	}
	return nil
}

// replace writes the files and removes generated files that are not among them.
func replace(dir string, files map[string][]byte) error {
	old, err := filepath.Glob(filepath.Join(dir, "zz_generated_*.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, ok := files[filepath.Base(path)]; !ok {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
