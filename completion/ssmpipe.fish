# Completes ssmpipe, and machine names for ssh, scp, sftp and rsync, in fish 3 and
# later. In ~/.config/fish/config.fish:
#
#     ssmpipe completion fish | source

function __ssmpipe_complete
    set -l words (commandline -cop)
    while string match -qr '^\w+=' -- "$words[1]"
        set -e words[1]
    end
    set -l current (commandline -ct)
    set -l plain (string unescape -- "$current")
    or set plain $current
    set -l answer (command ssmpipe complete fish $words "$plain" 2>/dev/null)
    if contains -- / $answer
        __fish_complete_path "$current"
        set answer (string match -v -- / $answer)
    end
    printf '%s\n' $answer
end

complete -c ssmpipe -f -a '(__ssmpipe_complete)'
for command in ssh scp sftp rsync
    complete -c $command -a '(__ssmpipe_complete)'
end
set -e command
