package ssmtest

// ssmService is Systems Manager.
var ssmService = &awsService{name: "ssm", target: "AmazonSSM", operations: map[string]operation{
	"StartSession":                jsonOperation((*Server).startSession),
	"ResumeSession":               jsonOperation((*Server).resumeSession),
	"TerminateSession":            jsonOperation((*Server).terminateSession),
	"DescribeInstanceInformation": jsonOperation((*Server).describeInstanceInformation),
}}
