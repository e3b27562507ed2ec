# Completes ssmpipe, and machine names for ssh, scp and sftp, in PowerShell 5.1 and
# later. In $PROFILE:
#
#     ssmpipe completion powershell | Out-String | Invoke-Expression
#
# Register your own completers for ssh, scp or sftp after that.

Register-ArgumentCompleter -Native -CommandName ssmpipe, ssh, scp, sftp -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # The words before the cursor, without their quotes, and the one at the cursor.
    $words = @(
        foreach ($element in $commandAst.CommandElements) {
            if ($element.Extent.EndOffset -lt $cursorPosition -or
                ($element.Extent.EndOffset -eq $cursorPosition -and $wordToComplete -eq '')) {
                if ($element -is [System.Management.Automation.Language.StringConstantExpressionAst]) {
                    $element.Value
                } else {
                    $element.Extent.Text
                }
            }
        }
        $wordToComplete
    )

    # Not all versions pass arguments with quotes, empty arguments and text that is
    # not ASCII unchanged.
    $encoded = [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($words -join "`n"))
    try {
        $answer = (& (Get-Command ssmpipe -CommandType Application -ErrorAction Stop | Select-Object -First 1) complete powershell $encoded 2>$null | Out-String | ConvertFrom-Json)
    } catch {
        return
    }
    foreach ($candidate in $answer) {
        [System.Management.Automation.CompletionResult]::new(
            $candidate.text, $candidate.item, 'ParameterValue', $candidate.help)
    }
    if ($answer -and $words[0] -match '(^|[\\/])scp(\.exe)?$') {
        [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete)
    }
}
