package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// aclQuestions is how many random questions Kafka's class and ours answer.
const aclQuestions = "1000000"

// aclSays finds what the test says at its end.
var aclSays = regexp.MustCompile(`\d+ questions, .*no difference`)

// installNext brings the jars of the release that knows networks in rules (KIP-1276).
func (s *suite) installNext(ctx context.Context, dir string) error {
	pom := filepath.Join(dir, "pom.xml")
	if err := copyFile(filepath.Join(s.source, "java/next/pom.xml"), pom); err != nil {
		return err
	}
	return command(ctx, dir, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib"))
}

// aclPart compares decisions on random rules with those of Kafka's own StandardAuthorizer: of the release that all the
// other parts compare with, and of the next one, where hosts may be networks.
func (s *suite) aclPart(ctx context.Context) {
	for _, jars := range []struct{ name, dir string }{{"Kafka 4.3", s.dir("java")}, {"Kafka 4.4, with networks", s.dir("next")}} {
		cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=30m", "-v", "-run", "^TestStandardAuthorizer$", "./internal/machine/acl")
		cmd.Dir = filepath.Join(s.source, "..", "..")
		cmd.Env = append(os.Environ(), "MOLDAU_KAFKA_JARS="+filepath.Join(jars.dir, "lib"), "MOLDAU_ACL_QUESTIONS="+aclQuestions)
		out, err := cmd.CombinedOutput()
		says := aclSays.FindString(string(out))
		if err == nil && (says == "" || !strings.HasPrefix(says, aclQuestions)) {
			err = fmt.Errorf("the test did not ask %s questions", aclQuestions)
		}
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out[max(0, len(out)-2000):])
		} else {
			fmt.Printf("acl: %s: %s\n", jars.name, says)
		}
		s.report.check(aclQuestions+" questions on random rules are decided as by the StandardAuthorizer of "+jars.name, err)
	}
}
