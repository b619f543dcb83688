/** Why no package was made: what happened, what one person can do about it, and the exit status (as in the table of problems). */
export class PackageFailed extends Error {
  readonly fix: string;
  readonly exit: number;

  constructor(message: string, fix: string, exit: 64 | 69 | 70 | 75 | 78) {
    super(message);
    this.fix = fix;
    this.exit = exit;
  }
}
