package main

// The help texts are written by hand, because they are the manual.

const appHelp = `NAME
    ssmpipe - ssh to private machines through AWS Session Manager

SYNOPSIS
    ssmpipe proxy [OPTION]... TARGET [PORT]
    ssmpipe demo [-- COMMAND [ARG]...]
    ssmpipe --help | --version

DESCRIPTION
    ssmpipe is what ssh starts as its ProxyCommand. It opens an AWS Systems
    Manager session and pipes stdin and stdout over it, so that ssh, scp, sftp,
    rsync and port forwarding work to machines that no network path leads to.
    Nothing but the AWS SSM agent and sshd is needed there, and nothing but this
    binary and ssh here.

    Put this into ~/.ssh/config:

        Host i-* mi-*
            ProxyCommand ssmpipe proxy %h %p

    and say "ssh i-0123456789abcdef0".

COMMANDS
    proxy    connect stdin and stdout to a port of a machine
    demo     try it without an AWS account: a service, an agent and an SSH
             server in this process

    "ssmpipe COMMAND --help" tells more about each.

ENVIRONMENT
    Credentials, region and endpoints come from where every AWS tool finds them:
    AWS_PROFILE, AWS_REGION, AWS_ACCESS_KEY_ID ..., ~/.aws/config, SSO, an
    instance's role; also AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SSM,
    AWS_ENDPOINT_URL_SSMMESSAGES, AWS_USE_FIPS_ENDPOINT,
    AWS_USE_DUALSTACK_ENDPOINT and AWS_CA_BUNDLE. HTTPS_PROXY and NO_PROXY are
    honoured for all connections.

EXIT STATUS
    0    the stream ended as it should
    1    it did not; the last line on stderr says why and what to do
    2    wrong usage
`

const proxyHelp = `NAME
    ssmpipe proxy - connect stdin and stdout to a port of a machine

SYNOPSIS
    ssmpipe proxy [OPTION]... TARGET [PORT]

DESCRIPTION
    Opens a Session Manager session to TARGET and pipes stdin to PORT there
    (22 if not given) and what comes back to stdout, until the far side ends.
    stdout carries the stream and nothing else.

    When the connection to AWS is lost, the session is resumed and the stream
    goes on without a byte lost or doubled. When ssmpipe ends, for whatever
    reason, the session is terminated.

    TARGET is an EC2 instance (i-...), a managed node (mi-...) or a container
    (ecs:CLUSTER_TASKID_RUNTIMEID).

OPTIONS
    --profile NAME            profile of the AWS configuration [$AWS_PROFILE]
    --region REGION           region of TARGET [$AWS_REGION]
    --document NAME           session document (AWS-StartSSHSession)
    --reason TEXT             why, for the records of the account
    --connect-timeout TIME    how long connecting may take (30s); 0: no limit
    --resume-timeout TIME     how long to try to overcome one outage (10m0s);
                              0: no limit
    -v                        tell on stderr what happens; -vv: all of it

    TIME is written as 90s, 10m or 1h30m.

    An MFA code is asked for on the terminal.

EXIT STATUS
    0    the far side ended the stream, and all of it was written
    1    anything else; the last line on stderr says why and what to do
    2    wrong usage
`

const demoHelp = `NAME
    ssmpipe demo - try ssmpipe without an AWS account

SYNOPSIS
    ssmpipe demo
    ssmpipe demo -- COMMAND [ARG]...

DESCRIPTION
    Starts, in this process and on loopback, a Session Manager service, an
    agent, and an SSH server that stands for the instances i-0demo and i-0demo2.
    Commands that you run there run on this machine, as you, in a temporary
    directory.

    Without COMMAND it prints lines to paste into another terminal, and ends
    with Ctrl-C. With COMMAND it runs that, with plain ssh, scp, sftp, rsync and
    ssmpipe set up for these instances, and exits with its status:

        ssmpipe demo -- ssh i-0demo uname -a
`
