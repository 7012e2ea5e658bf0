/** Progress on stderr: one live line on a terminal, plain lines otherwise. stdout is for the result. */
export interface Progress {
  /** What is being done now. */
  step(text: string): void;
  /** A line that stays. */
  note(text: string): void;
  end(): void;
}

export function createProgress(stream: NodeJS.WriteStream, startedAt: number, now: () => number): Progress {
  const live = stream.isTTY === true;
  const clear = live ? '\r\u001B[2K' : '';
  const stamp = () => `[${((now() - startedAt) / 1000).toFixed(0).padStart(3)} s]`;
  return {
    step(text) {
      const line = `${stamp()} ${text}`;
      stream.write(live ? `${clear}${line.slice(0, Math.max(20, (stream.columns ?? 80) - 1))}` : `${line}\n`);
    },
    note(text) {
      stream.write(`${clear}${stamp()} ${text}\n`);
    },
    end() {
      stream.write(clear);
    },
  };
}
