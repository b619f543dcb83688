import type { Command } from 'commander';
import { Problem } from '../protocol/problems.ts';
import type { Commands } from './parts-command-line.ts';

/** Every command by its words, with the words and options that may follow. */
function wordsOf(command: Command, above: string): { at: string; words: string[] }[] {
  const below = command.commands.filter((one) => one.name() !== 'help');
  const options = command.options.map(({ long }) => long).filter((long) => long !== undefined && long !== null);
  const mine = { at: above, words: [...below.map((one) => one.name()), ...options, '--help'].toSorted() };
  return [mine, ...below.flatMap((one) => wordsOf(one, `${above} ${one.name()}`))];
}

/** For bash, and for zsh by its own bridge. */
function forBash(program: Command): string {
  const cases = wordsOf(program, 'sparekeyctl').map(({ at, words }) => `    '${at}') words='${words.join(' ')}' ;;`);
  return `_sparekeyctl() {
  local at=sparekeyctl word words=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case " $(_sparekeyctl_words "$at") " in *" $word "*) [ "\${word#-}" = "$word" ] && at="$at $word" ;; esac
  done
  COMPREPLY=($(compgen -W "$(_sparekeyctl_words "$at")" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
_sparekeyctl_words() {
  local words=''
  case "$1" in
${cases.join('\n')}
  esac
  printf '%s' "$words"
}
complete -o default -F _sparekeyctl sparekeyctl
`;
}

function forFish(program: Command): string {
  const lines = wordsOf(program, 'sparekeyctl').flatMap(({ at, words }) => {
    const path = at.split(' ').slice(1);
    const when = path.length === 0 ? '__fish_use_subcommand' : path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    return words.map((word) => `complete -c sparekeyctl -n '${when}' ${word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`}`);
  });
  return `${lines.join('\n')}\n`;
}

/** What a shell needs to complete the words of these commands. */
export function addCompletionCommand({ program }: Commands, out: (text: string) => void): void {
  program
    .command('completion <shell>')
    .description('prints what bash, zsh or fish needs to complete the words of these commands')
    .addHelpText('after', '\nExample:\n  sparekeyctl completion bash > /etc/bash_completion.d/sparekeyctl')
    .action((shell: string) => {
      if (shell === 'bash') return out(forBash(program));
      if (shell === 'zsh') return out(`autoload -U +X bashcompinit && bashcompinit\n${forBash(program)}`);
      if (shell === 'fish') return out(forFish(program));
      throw new Problem('USAGE', 'a shell is bash, zsh or fish');
    });
}
