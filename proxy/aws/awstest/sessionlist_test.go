package awstest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

func TestDescribeSessions(t *testing.T) {
	s := nodeServer(t, Config{Config: ssmtest.Config{Regions: []string{"eu-west-1"}}, Preferences: `{"inputs":{"maxSessionDuration":"60"}}`}, Node{ID: "i-1"}, Node{ID: "i-2"})
	client := ssm.NewFromConfig(sdk(s, "us-east-1"))
	began := time.Now()
	for _, target := range []string{"i-1", "i-2"} {
		if _, err := client.StartSession(t.Context(), &ssm.StartSessionInput{
			Target: &target, DocumentName: aws.String("AWS-StartSSHSession"), Reason: aws.String("a test"),
		}); err != nil {
			t.Fatal(err)
		}
	}
	mine := s.Sessions()
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	theirs := s.PlantSession(PlantedSession{ID: "them-0123", Target: "i-1", Started: started})
	describe := func(state types.SessionState, filters ...types.SessionFilter) (ids []string, list []types.Session) {
		t.Helper()
		answer, err := client.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: state, Filters: filters})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range answer.Sessions {
			ids = append(ids, *i.SessionId)
		}
		return ids, answer.Sessions
	}
	filter := func(key types.SessionFilterKey, value string) types.SessionFilter {
		return types.SessionFilter{Key: key, Value: &value}
	}
	one, two, them := mine[0].ID(), mine[1].ID(), theirs.ID()
	for _, test := range []struct {
		filters []types.SessionFilter
		want    []string
	}{
		{nil, []string{them, two, one}},
		{[]types.SessionFilter{filter("Owner", callerARN)}, []string{two, one}},
		{[]types.SessionFilter{filter("Target", "i-1")}, []string{them, one}},
		{[]types.SessionFilter{filter("Target", "i-1"), filter("Owner", callerARN)}, []string{one}},
		{[]types.SessionFilter{filter("SessionId", two)}, []string{two}},
		{[]types.SessionFilter{filter("Status", "Connected")}, []string{them, two, one}},
		{[]types.SessionFilter{filter("Status", "Failed")}, nil},
	} {
		if got, _ := describe("Active", test.filters...); !slices.Equal(got, test.want) {
			t.Errorf("%d filters: got %q, want %q", len(test.filters), got, test.want)
		}
	}
	_, list := describe("Active")
	if i := list[2]; *i.Target != "i-1" || i.Status != "Connected" || *i.DocumentName != "AWS-StartSSHSession" || *i.Owner != callerARN ||
		*i.Reason != "a test" || *i.MaxSessionDuration != "60" || i.StartDate.Before(began.Add(-time.Second)) || i.EndDate != nil {
		t.Errorf("one's own: %+v", i)
	}
	if i := list[0]; !i.StartDate.Equal(started) || *i.Owner == callerARN || *i.DocumentName != "SSM-SessionManagerRunShell" || i.Reason != nil {
		t.Errorf("another's: %+v", i)
	}
	for _, id := range []string{one, them} {
		if _, err := client.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: &id}); err != nil {
			t.Error(err)
		}
	}
	if got, _ := describe("Active"); !slices.Equal(got, []string{two}) || !theirs.Ended() {
		t.Errorf("after TerminateSession there are %q", got)
	}
	if got, list := describe("History"); !slices.Equal(got, []string{them, one}) || list[0].Status != "Terminated" || list[0].EndDate == nil {
		t.Errorf("the history is %q", got)
	}
	answer, err := ssm.NewFromConfig(sdk(s, "eu-west-1")).DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active"})
	if err != nil || len(answer.Sessions) != 0 {
		t.Errorf("in another region: %v, %v", answer, err)
	}
	for code, in := range map[string]ssm.DescribeSessionsInput{
		"InvalidFilterKey":    {State: "Active", Filters: []types.SessionFilter{filter("Reason", "x")}},
		"InvalidNextToken":    {State: "Active", NextToken: aws.String("x")},
		"ValidationException": {State: "Past"},
	} {
		_, err := client.DescribeSessions(t.Context(), &in)
		refused(t, code, err, code, 400)
	}
}

func TestDescribeSessionsPages(t *testing.T) {
	s := nodeServer(t, Config{})
	for i := range 230 {
		s.PlantSession(PlantedSession{ID: fmt.Sprint("them-", i), Target: "i-1"})
	}
	client := ssm.NewFromConfig(sdk(s, "us-east-1"))
	seen := make(map[string]bool)
	pages := 0
	for p := ssm.NewDescribeSessionsPaginator(client, &ssm.DescribeSessionsInput{State: "Active", MaxResults: aws.Int32(100)}); p.HasMorePages(); pages++ {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Sessions {
			seen[*i.SessionId] = true
		}
	}
	if len(seen) != 230 || pages != 3 {
		t.Errorf("%d sessions on %d pages", len(seen), pages)
	}
	_, err := client.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: "Active", MaxResults: aws.Int32(201)})
	refused(t, "201 on a page", err, "ValidationException", 400)
}

func TestPreferencesAreADocument(t *testing.T) {
	const text = `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"kmsKeyId":"k","runAsEnabled":true}}`
	get := func(s *Server, name string) (*ssm.GetDocumentOutput, error) {
		return ssm.NewFromConfig(sdk(s, "us-east-1")).GetDocument(t.Context(), &ssm.GetDocumentInput{Name: &name})
	}
	s := nodeServer(t, Config{Preferences: text})
	answer, err := get(s, "SSM-SessionManagerRunShell")
	if err != nil || *answer.Content != text || answer.DocumentType != "Session" {
		t.Errorf("got %+v, %v", answer, err)
	}
	_, err = get(s, "mine")
	refused(t, "another document", err, "InvalidDocument", 400)
	s.DenyActions("ssm:GetDocument")
	_, err = get(s, "SSM-SessionManagerRunShell")
	refused(t, "not allowed", err, "AccessDeniedException", 400)
	_, err = get(nodeServer(t, Config{}), "SSM-SessionManagerRunShell")
	refused(t, "no preferences", err, "InvalidDocument", 400)
}
