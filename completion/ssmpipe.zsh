#compdef ssmpipe
# Completes ssmpipe, and machine names for ssh, scp, sftp and rsync, in zsh 5.1
# and later. In ~/.zshrc, before or after compinit:
#
#     source <(ssmpipe completion zsh)

# Each candidate has "+" before it if a space follows, "-" if it is open; "/" means
# files.
_ssmpipe() {
    local -a answer spaced open
    local ret=1
    answer=("${(@f)$(command ssmpipe complete zsh "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    spaced=("${(@)${(@M)answer:#+*}#+}")
    open=("${(@)${(@M)answer:#-*}#-}")
    (( $#spaced || $#open )) && _describe -t values 'ssmpipe' spaced -- open -S '' && ret=0
    [[ $answer[-1] == / ]] && _files && ret=0
    return ret
}

# _ssmpipe_hosts adds machines, with the given options of compadd.
_ssmpipe_hosts() {
    local -a answer names shown
    local line
    answer=("${(@f)$(command ssmpipe complete zsh ssh "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${(@)${(@M)answer:#+*}#+}"; do
        names+=("${line%%:*}")
        shown+=("${line%%:*}  -- ${line#*:}")
    done
    (( $#names )) && compadd "$@" -l -d shown -a names
}

# _ssmpipe_with adds machines to the results of one of zsh's own functions.
_ssmpipe_with() {
    local own=$1 ret=1
    shift
    if [[ $own == _ssh_hosts || $service == rsync ]]; then
        _ssmpipe_hosts "$@" && ret=0
    fi
    _ssmpipe_own$own "$@" && ret=0
    return ret
}

# _ssmpipe_setup does the part of the set-up that needs compinit.
_ssmpipe_setup() {
    emulate -L zsh
    local name
    (( $+functions[compdef] )) || return
    add-zsh-hook -d precmd _ssmpipe_setup
    compdef _ssmpipe ssmpipe
    for name in _ssh_hosts _hosts; do
        (( $+functions[$name] && ! $+functions[_ssmpipe_own$name] )) || continue
        [[ $functions[$name] == *'autoload -X'* ]] && autoload -Uz +X $name
        functions[_ssmpipe_own$name]=$functions[$name]
        functions[$name]="_ssmpipe_with $name \"\$@\""
    done
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _ssmpipe "$@" # autoloaded from fpath; ssh is completed only if this file is sourced
else
    autoload -Uz add-zsh-hook
    add-zsh-hook precmd _ssmpipe_setup # compinit may run later
    _ssmpipe_setup
fi
