/** Names of images, as Docker has them. */

/** Names by which an image can be asked for: Docker lists others as `<none>`. */
export function pinnedNames(names: readonly string[]): string[] {
  return names.filter((name) => !name.includes('<none>'));
}

/** The digest that a registry has given an image under a name; undefined for one that never came from there. */
export function digestIn(names: readonly string[], reference: string): string | undefined {
  const repository = repositoryOf(reference);
  return names.map((name) => /^(.+)@(sha256:[0-9a-f]{64})$/.exec(name)).find((match) => match?.[1] !== undefined && repositoryOf(match[1]) === repository)?.[2];
}

/** Name without tag and digest, and without what Docker's own registry is left out as. */
export function repositoryOf(reference: string): string {
  return reference.replace(/@.*$/, '').replace(/:[^/:]*$/, '').replace(/^(docker\.io\/)?(library\/)?/, '');
}

/** True for two names of one image; a name without a tag has `latest`. */
export function sameImage(one: string, other: string): boolean {
  const full = (reference: string) => {
    const rest = reference.replace(/^(docker\.io\/)?(library\/)?/, '');
    return /[:@][^/]*$/.test(rest) ? rest : `${rest}:latest`;
  };
  return full(one) === full(other);
}

/** When a version of a built image was made, as its tag has it: `20261127201500`. */
export function buildVersion(now: Date): string {
  return now.toISOString().replaceAll(/[^0-9]/g, '').slice(0, 14);
}

/** Packages that "apt-get --simulate upgrade" would bring up to date. */
export function upgradesIn(output: string): string[] {
  return [...output.matchAll(/^Inst (\S+)/gm)].map(([, name = '']) => name);
}
