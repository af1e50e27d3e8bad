"""The other yardstick of `figures.py`: linear regression in PyTorch, as its tutorials and textbooks write it."""

import torch
from torch.utils.data import DataLoader, TensorDataset


def tensors(X, y):
    """Return the table as PyTorch likes it: float32, the response a column."""
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32).reshape(-1, 1)


def train(X, y, batch, step, epochs):
    loader = DataLoader(TensorDataset(X, y), batch_size=batch, shuffle=True)
    model = torch.nn.Linear(X.shape[1], 1)
    loss = torch.nn.MSELoss()
    # The mean squared error has no half in it: half the step makes the same steps.
    optimiser = torch.optim.SGD(model.parameters(), lr=step / 2)
    for _ in range(epochs):
        for rows, responses in loader:
            optimiser.zero_grad()
            loss(model(rows), responses).backward()
            optimiser.step()
    return model
