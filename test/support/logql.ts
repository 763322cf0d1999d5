import { parser } from '@grafana/lezer-logql';

/** Whether Loki's grammar takes it: there is an error node where a text does not fit. */
export function isLogql(text: string): boolean {
  let isRight = true;
  parser.parse(text).iterate({
    enter: ({ type }) => {
      if (type.isError) isRight = false;
    },
  });
  return isRight;
}
